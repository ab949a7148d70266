-- name: upsert_entities
-- Stores entities of a tenant ($1), each unless the stored one is newer, and returns how many it stored. An empty type
-- and absent attributes leave what is stored. In order, so that two batches wait for each other instead of forever.
WITH stored AS (
  INSERT INTO spatial_index.entity AS known
    (tenant_id, entity_id, lat, lng, geocentric, time, altitude, accuracy, speed, bearing, type, attributes)
  SELECT
    $1::text, sent.entity_id, sent.lat, sent.lng, public.cube(ARRAY[sent.x, sent.y, sent.z]), sent.time,
    sent.altitude, sent.accuracy, sent.speed, sent.bearing, sent.type, sent.attributes::jsonb
  FROM unnest(
    $2::text[], $3::float8[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::timestamptz[], $9::float4[],
    $10::float4[], $11::float4[], $12::float4[], $13::text[], $14::text[]
  ) AS sent (entity_id, lat, lng, x, y, z, time, altitude, accuracy, speed, bearing, type, attributes)
  ORDER BY sent.entity_id COLLATE "C"
  ON CONFLICT (tenant_id, entity_id) DO UPDATE SET
    lat = excluded.lat,
    lng = excluded.lng,
    geocentric = excluded.geocentric,
    time = excluded.time,
    altitude = excluded.altitude,
    accuracy = excluded.accuracy,
    speed = excluded.speed,
    bearing = excluded.bearing,
    type = CASE WHEN excluded.type = '' THEN known.type ELSE excluded.type END,
    attributes = coalesce(excluded.attributes, known.attributes)
  WHERE known.time <= excluded.time
  RETURNING 1
)
SELECT count(*) FROM stored;

-- name: find_entity
-- Returns an entity ($2) as one of the tenants ($1) has it, the public one last.
SELECT tenant_id, entity_id, lat, lng, time, altitude, accuracy, speed, bearing, type, attributes::text AS attributes
FROM spatial_index.entity
WHERE tenant_id = ANY ($1::text[]) AND entity_id = $2::text
ORDER BY tenant_id = 'public'
LIMIT 1;

-- name: delete_entity
-- Deletes an entity ($2) of a tenant ($1) and returns its id.
DELETE FROM spatial_index.entity
WHERE tenant_id = $1::text AND entity_id = $2::text
RETURNING entity_id;

-- name: find_nearest
-- Returns the $5 entities of tenants ($1) that are nearest in space to a point ($2: x, y, z in metres), nearest first,
-- with the length of the chord and of the geodesic from the same point ($3, $4: latitude, longitude in degrees) in
-- metres. Only those of the types $7 (of all when empty), with the attributes named $8 of the values $9, not older than
-- $10. Each tenant by itself, because an index gives an order only where its first column is fixed. The cube lets the
-- index end at the radius ($6, metres), where a rare filter would have it walk on to the ends of the Earth.
SELECT
  near.tenant_id, near.entity_id, near.lat, near.lng, near.time, near.altitude, near.accuracy, near.speed, near.bearing,
  near.type, near.attributes::text AS attributes, near.chord,
  public.ST_Distance(
    public.ST_Point(near.lng, near.lat, 4326)::public.geography,
    public.ST_Point($4::float8, $3::float8, 4326)::public.geography
  ) AS distance
FROM (
  SELECT
    found.tenant_id, found.entity_id, found.lat, found.lng, found.time, found.altitude, found.accuracy, found.speed,
    found.bearing, found.type, found.attributes, found.chord
  FROM unnest($1::text[]) AS owner (tenant_id)
  CROSS JOIN LATERAL (
    SELECT
      entity.tenant_id, entity.entity_id, entity.lat, entity.lng, entity.time, entity.altitude, entity.accuracy,
      entity.speed, entity.bearing, entity.type, entity.attributes,
      entity.geocentric OPERATOR(public.<->) public.cube($2::float8[]) AS chord
    FROM spatial_index.entity
    WHERE entity.tenant_id = owner.tenant_id
      AND entity.geocentric OPERATOR(public.<@) public.cube_enlarge(public.cube($2::float8[]), $6::float8, 3)
      AND ($7::text[] = '{}' OR entity.type = ANY ($7::text[]))
      AND (
        $8::text[] = '{}'
        OR NOT EXISTS (
          SELECT FROM unnest($8::text[], $9::text[]) AS wanted (name, value)
          WHERE entity.attributes ->> wanted.name IS DISTINCT FROM wanted.value
        )
      )
      AND entity.time >= $10::timestamptz
    ORDER BY entity.geocentric OPERATOR(public.<->) public.cube($2::float8[])
    LIMIT $5::int8
  ) AS found
  ORDER BY found.chord
  LIMIT $5::int8
) AS near
ORDER BY near.chord;

-- name: find_in_boxes
-- Returns the first $5 entities of tenants ($1) within any of the boxes ($2, cubes as text, in metres), by id and
-- tenant, of those that come after an id ($3) and tenant ($4). Filters $6 to $9 as in find_nearest. Attributes become
-- text at last, since sorting has to look at more entities than it returns.
SELECT
  found.tenant_id, found.entity_id, found.lat, found.lng, found.time, found.altitude, found.accuracy, found.speed,
  found.bearing, found.type, found.attributes::text AS attributes
FROM (
  SELECT tenant_id, entity_id, lat, lng, time, altitude, accuracy, speed, bearing, type, attributes
  FROM spatial_index.entity
  WHERE tenant_id = ANY ($1::text[])
    AND geocentric OPERATOR(public.<@) ANY ($2::text[]::public.cube[])
    AND (entity_id, tenant_id) > ($3::text, $4::text)
    AND ($6::text[] = '{}' OR type = ANY ($6::text[]))
    AND (
      $7::text[] = '{}'
      OR NOT EXISTS (
        SELECT FROM unnest($7::text[], $8::text[]) AS wanted (name, value)
        WHERE attributes ->> wanted.name IS DISTINCT FROM wanted.value
      )
    )
    AND time >= $9::timestamptz
  ORDER BY entity_id, tenant_id
  LIMIT $5::int8
) AS found
ORDER BY found.entity_id, found.tenant_id;

-- name: find_load
-- Returns how many entities were loaded from a file ($1, SHA-256) that is loaded whole.
SELECT entity_count FROM spatial_index.load WHERE sha256 = $1::text;

-- name: save_load
-- Records that a file ($1, SHA-256) named $2 with $3 entities is loaded.
INSERT INTO spatial_index.load (sha256, source, entity_count)
VALUES ($1::text, $2::text, $3::int4)
ON CONFLICT (sha256) DO NOTHING;
