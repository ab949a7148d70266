-- name: find_version
-- Which gazetteer is in use; nothing before one is loaded whole.
SELECT version FROM geocoder.load_steps WHERE step = 'publish';

-- name: find_directory
-- Everything that countries and regions are called, to understand where a query says that a place lies: the keys, for
-- each the areas, such as US,US.CA, the most important first, and whether it is nothing but a code. One row of long
-- arrays, because 80,000 rows would take the reading process 12 MB more for good.
SELECT array_agg(e.key) AS keys, array_agg(e.areas) AS areas, array_agg(e.is_code) AS codes
FROM (
  SELECT n.key, string_agg(n.area, ',' ORDER BY n.place) AS areas, bool_and(n.kind = 9) AS is_code
  FROM geocoder.names AS n
  WHERE n.layer IN (1, 2)
  GROUP BY n.key
) AS e;

-- name: find_divisions
-- All countries and regions, which the places of a reply lie in.
SELECT
  p.id, p.place_id, p.layer, p.feature_class, p.name, p.country_code, p.admin1_code, p.admin2_code, p.admin2_name,
  p.timezone, p.population, p.importance, p.lat, p.lng, p.iso_code
FROM geocoder.places AS p
WHERE p.layer IN (1, 2);

-- name: find_division_names
-- What countries and regions are called in a language ($1).
SELECT p.place_id, l.name
FROM geocoder.places AS p
JOIN geocoder.localized_names AS l ON l.place = p.id AND l.language = $1::text
WHERE p.layer IN (1, 2);

-- name: find_named
-- Places with exactly these name keys ($2), each read in one way ($1) and in its own area ($3, US or US.OR, null for
-- anywhere), the most important first. $4–$12 filter, $13 is the language, $14 the most rows for each reading.
SELECT
  wanted.reading, m.kind, m.matched_name, m.key,
  m.id, m.place_id, m.layer, m.feature_class, coalesce(l.name, m.name) AS name, m.country_code, m.admin1_code,
  m.admin2_code, m.admin2_name, m.timezone, m.population, m.importance, m.lat, m.lng, m.iso_code
FROM unnest($1::integer[], $2::text[], $3::text[]) AS wanted (reading, key, area)
CROSS JOIN LATERAL (
  SELECT
    n.kind, n.name AS matched_name, n.key,
    p.id, p.place_id, p.layer, p.feature_class, p.name, p.country_code, p.admin1_code, p.admin2_code, p.admin2_name,
    p.timezone, p.population, p.importance, p.lat, p.lng, p.iso_code
  FROM geocoder.names AS n
  JOIN geocoder.places AS p ON p.id = n.place
  WHERE
    n.key = wanted.key
    AND (wanted.area IS NULL OR n.area = wanted.area OR left(n.area, 2) = wanted.area)
    AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE)
    AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    AND coalesce(p.feature_class = ANY ($6::text[]), TRUE)
    AND coalesce(p.population >= $7::bigint, $7 IS NULL)
    AND coalesce(p.population <= $8::bigint, $8 IS NULL)
    AND coalesce(p.lat BETWEEN $9::double precision AND $10::double precision, TRUE)
    AND (
      $11::double precision IS NULL
      OR CASE
        WHEN $11 <= $12::double precision THEN p.lng BETWEEN $11 AND $12
        ELSE p.lng >= $11 OR p.lng <= $12
      END
    )
  ORDER BY n.place
  LIMIT $14::integer
) AS m
LEFT JOIN geocoder.localized_names AS l ON l.place = m.id AND l.language = $13::text;

-- name: find_similar
-- Names that share at least $2 of their trigrams with key $1, and names whose key is one of $3, by falling similarity.
-- $4–$12 filter, $13 is the language, $14 the most rows.
WITH threshold AS MATERIALIZED (
  -- The operator % reads its threshold from a setting; it is set before the scan that depends on this row begins.
  SELECT set_config('pg_trgm.similarity_threshold', $2::real::text, true) AS is_set
),
alike AS (
  SELECT n.place, n.kind, n.key, n.name, public.similarity(n.key, $1::text) AS similarity
  FROM threshold AS t
  CROSS JOIN LATERAL (
    SELECT o.place, o.kind, o.key, o.name
    FROM geocoder.names AS o
    WHERE
      o.kind < 9 AND o.key OPERATOR(public.%) $1 AND t.is_set IS NOT NULL
      AND coalesce(left(o.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(o.layer = ANY ($5::smallint[]), TRUE)
  ) AS n
  UNION
  SELECT n.place, n.kind, n.key, n.name, public.similarity(n.key, $1) AS similarity
  FROM geocoder.names AS n
  WHERE
    n.kind < 9 AND n.key = ANY ($3::text[])
    AND coalesce(left(n.area, 2) = ANY ($4), TRUE) AND coalesce(n.layer = ANY ($5), TRUE)
)
SELECT
  a.kind, a.name AS matched_name, a.key, a.similarity,
  p.id, p.place_id, p.layer, p.feature_class, coalesce(l.name, p.name) AS name, p.country_code, p.admin1_code,
  p.admin2_code, p.admin2_name, p.timezone, p.population, p.importance, p.lat, p.lng, p.iso_code
FROM alike AS a
JOIN geocoder.places AS p ON p.id = a.place
LEFT JOIN geocoder.localized_names AS l ON l.place = p.id AND l.language = $13::text
WHERE
  coalesce(p.feature_class = ANY ($6::text[]), TRUE)
  AND coalesce(p.population >= $7::bigint, $7 IS NULL)
  AND coalesce(p.population <= $8::bigint, $8 IS NULL)
  AND coalesce(p.lat BETWEEN $9::double precision AND $10::double precision, TRUE)
  AND (
    $11::double precision IS NULL
    OR CASE
      WHEN $11 <= $12::double precision THEN p.lng BETWEEN $11 AND $12
      ELSE p.lng >= $11 OR p.lng <= $12
    END
  )
ORDER BY a.similarity DESC, p.id
LIMIT $14::integer;

-- name: complete
-- Places of which a name key begins with $1: the 20 most important that are called so first of all, and the 20 most
-- important that are called so among others. $2 is the first key after the last of them. $3 holds areas such as US or
-- US.OR, null for anywhere; $4 and $5 filter by country and layer, $6 is the language.
-- Up to three letters an index hands them out by importance; only the branches of that length are carried out.
WITH found AS (
  (
    SELECT n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1::text) = 1 AND left(n.key, 1) = $1 AND n.kind = 1
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place
    LIMIT 20
  )
  UNION ALL
  (
    SELECT DISTINCT ON (n.place) n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1::text) = 1 AND left(n.key, 1) = $1 AND n.kind > 1 AND n.kind < 9
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place, n.kind
    LIMIT 20
  )
  UNION ALL
  (
    SELECT n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1::text) = 2 AND left(n.key, 2) = $1 AND n.kind = 1
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place
    LIMIT 20
  )
  UNION ALL
  (
    SELECT DISTINCT ON (n.place) n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1::text) = 2 AND left(n.key, 2) = $1 AND n.kind > 1 AND n.kind < 9
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place, n.kind
    LIMIT 20
  )
  UNION ALL
  (
    SELECT n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1::text) = 3 AND left(n.key, 3) = $1 AND n.kind = 1
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place
    LIMIT 20
  )
  UNION ALL
  (
    SELECT DISTINCT ON (n.place) n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1::text) = 3 AND left(n.key, 3) = $1 AND n.kind > 1 AND n.kind < 9
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place, n.kind
    LIMIT 20
  )
  UNION ALL
  (
    SELECT n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1) > 3 AND n.key >= $1 AND n.key < $2::text AND n.kind = 1
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place
    LIMIT 20
  )
  UNION ALL
  (
    SELECT DISTINCT ON (n.place) n.place, n.kind, n.name, n.key
    FROM geocoder.names AS n
    WHERE
      length($1) > 3 AND n.key >= $1 AND n.key < $2::text AND n.kind > 1 AND n.kind < 9
      AND coalesce(ARRAY[left(n.area, 2), n.area] && $3::text[], TRUE)
      AND coalesce(left(n.area, 2) = ANY ($4::text[]), TRUE) AND coalesce(n.layer = ANY ($5::smallint[]), TRUE)
    ORDER BY n.place, n.kind
    LIMIT 20
  )
)
SELECT
  f.kind, f.name AS matched_name, f.key,
  p.id, p.place_id, p.layer, p.feature_class, coalesce(l.name, p.name) AS name, p.country_code, p.admin1_code,
  p.admin2_code, p.admin2_name, p.timezone, p.population, p.importance, p.lat, p.lng, p.iso_code
FROM found AS f
JOIN geocoder.places AS p ON p.id = f.place
LEFT JOIN geocoder.localized_names AS l ON l.place = p.id AND l.language = $6::text
ORDER BY p.id, f.kind;

-- name: find_place
-- One place by its lasting id ($1) with all its names; $2 is the language.
SELECT
  p.id, p.place_id, p.layer, p.feature_class, coalesce(l.name, p.name) AS name, p.country_code, p.admin1_code,
  p.admin2_code, p.admin2_name, p.timezone, p.population, p.importance, p.lat, p.lng, p.iso_code,
  p.name AS main_name, p.alternate_names,
  ARRAY(SELECT o.language FROM geocoder.localized_names AS o WHERE o.place = p.id ORDER BY o.language) AS languages,
  ARRAY(SELECT o.name FROM geocoder.localized_names AS o WHERE o.place = p.id ORDER BY o.language) AS local_names
FROM geocoder.places AS p
LEFT JOIN geocoder.localized_names AS l ON l.place = p.id AND l.language = $2::text
WHERE p.place_id = $1::text;

-- name: find_around
-- The country of a point ($1 degrees north, $2 degrees east) and what lies within $3 metres of it, and a little beyond,
-- because the sphere that is searched on is up to 0.6 % off: the $4 nearest localities, the nearest cities and large
-- cities, which reach further than their neighbours, and, when $5, the $4 nearest postcodes; on land only those of that
-- country. On water also the $4 nearest localities of the country within $7 metres, if that is further: they tell whether
-- the water is its own. $6 is the language. The first row is no place: the country.
WITH inside AS MATERIALIZED (
  SELECT b.country_code, b.is_land
  FROM geocoder.borders AS b
  WHERE public.ST_Intersects(b.area, public.ST_SetSRID(public.ST_MakePoint($2::double precision, $1::double precision), 4326))
  LIMIT 1
),
country AS MATERIALIZED (
  SELECT i.country_code, i.is_land FROM inside AS i
  UNION ALL
  SELECT NULL, FALSE WHERE NOT EXISTS (SELECT FROM inside)
),
near AS (
  SELECT n.id
  FROM country AS c
  CROSS JOIN LATERAL (
    (
      SELECT p.id
      FROM geocoder.places AS p
      WHERE
        p.layer = 4
        AND public.ST_DWithin(
          p.location, public.ST_SetSRID(public.ST_MakePoint($2::double precision, $1::double precision), 4326)::public.geography, $3::double precision * 1.006, FALSE
        )
        AND (NOT c.is_land OR p.country_code = c.country_code)
      ORDER BY p.location OPERATOR(public.<->) public.ST_SetSRID(public.ST_MakePoint($2::double precision, $1::double precision), 4326)::public.geography
      LIMIT $4::integer
    )
    UNION
    (
      SELECT p.id
      FROM geocoder.places AS p
      WHERE
        p.layer = 4 AND NOT c.is_land AND p.country_code = c.country_code
        AND public.ST_DWithin(
          p.location,
          public.ST_SetSRID(public.ST_MakePoint($2, $1), 4326)::public.geography,
          greatest($3, $7::double precision) * 1.006, FALSE
        )
      ORDER BY p.location OPERATOR(public.<->) public.ST_SetSRID(public.ST_MakePoint($2, $1), 4326)::public.geography
      LIMIT $4
    )
    UNION
    (
      SELECT p.id
      FROM geocoder.places AS p
      WHERE
        p.layer = 4 AND p.population >= 100000
        AND public.ST_DWithin(
          p.location,
          public.ST_SetSRID(public.ST_MakePoint($2, $1), 4326)::public.geography,
          least($3, 15000::double precision), FALSE
        )
        AND (NOT c.is_land OR p.country_code = c.country_code)
      ORDER BY p.location OPERATOR(public.<->) public.ST_SetSRID(public.ST_MakePoint($2, $1), 4326)::public.geography
      LIMIT 3
    )
    UNION
    (
      SELECT p.id
      FROM geocoder.places AS p
      WHERE
        p.layer = 4 AND p.population >= 500000
        AND public.ST_DWithin(
          p.location,
          public.ST_SetSRID(public.ST_MakePoint($2, $1), 4326)::public.geography,
          least($3, 30000::double precision), FALSE
        )
        AND (NOT c.is_land OR p.country_code = c.country_code)
      ORDER BY p.location OPERATOR(public.<->) public.ST_SetSRID(public.ST_MakePoint($2, $1), 4326)::public.geography
      LIMIT 2
    )
    UNION ALL
    (
      SELECT p.id
      FROM geocoder.places AS p
      WHERE
        $5::boolean AND p.layer = 8
        AND public.ST_DWithin(
          p.location, public.ST_SetSRID(public.ST_MakePoint($2::double precision, $1::double precision), 4326)::public.geography, $3 * 1.006, FALSE
        )
        AND (NOT c.is_land OR p.country_code = c.country_code)
      ORDER BY p.location OPERATOR(public.<->) public.ST_SetSRID(public.ST_MakePoint($2::double precision, $1::double precision), 4326)::public.geography
      LIMIT $4
    )
  ) AS n
)
SELECT
  NULL::double precision AS distance_meters, c.country_code AS inside, c.is_land,
  NULL::integer AS id, NULL::text AS place_id, NULL::smallint AS layer, NULL::text AS feature_class, NULL::text AS name,
  NULL::text AS country_code, NULL::text AS admin1_code, NULL::text AS admin2_code, NULL::text AS admin2_name,
  NULL::text AS timezone, NULL::bigint AS population, NULL::real AS importance, NULL::double precision AS lat,
  NULL::double precision AS lng, NULL::text AS iso_code
FROM country AS c
UNION ALL
SELECT
  public.ST_Distance(
    p.location, public.ST_SetSRID(public.ST_MakePoint($2::double precision, $1::double precision), 4326)::public.geography
  ) AS distance_meters, NULL, NULL,
  p.id, p.place_id, p.layer, p.feature_class, coalesce(l.name, p.name) AS name, p.country_code, p.admin1_code,
  p.admin2_code, p.admin2_name, p.timezone, p.population, p.importance, p.lat, p.lng, p.iso_code
FROM near AS n
JOIN geocoder.places AS p ON p.id = n.id
LEFT JOIN geocoder.localized_names AS l ON l.place = p.id AND l.language = $6::text;
