-- name: ensure_partitions
-- Makes the partitions of the months ($1, first days) where they are missing.
SELECT trajectory.ensure_partitions($1::date[]);

-- name: find_keys
-- Returns the keys of those entities ($2) that a tenant ($1) has.
SELECT entity_id, entity_key
FROM trajectory.entities
WHERE tenant_id = $1::text AND entity_id = ANY ($2::text[]);

-- name: add_entities
-- Gives entities ($2) of a tenant ($1) their keys. In order, so that two batches wait for each other instead of forever.
INSERT INTO trajectory.entities (tenant_id, entity_id)
SELECT $1::text, wanted.entity_id
FROM unnest($2::text[]) AS wanted (entity_id)
ORDER BY wanted.entity_id COLLATE "C"
ON CONFLICT (tenant_id, entity_id) DO NOTHING;

-- name: add_positions
-- Stores positions of a tenant ($1) and returns how many were new. In order of the key, as add_entities; among equals
-- the first one wins.
WITH stored AS (
  INSERT INTO trajectory.positions
    (entity_key, time, lat, lng, cell, altitude, accuracy, speed, bearing, tenant_id, attributes)
  SELECT
    sent.entity_key, sent.time, sent.lat, sent.lng, sent.cell, sent.altitude, sent.accuracy, sent.speed, sent.bearing,
    $1::text, sent.attributes::jsonb
  FROM unnest(
    $2::int8[], $3::timestamptz[], $4::float8[], $5::float8[], $6::int8[], $7::float4[], $8::float4[], $9::float4[],
    $10::float4[], $11::text[]
  ) WITH ORDINALITY
    AS sent (entity_key, time, lat, lng, cell, altitude, accuracy, speed, bearing, attributes, place)
  ORDER BY sent.entity_key, sent.time, sent.place
  ON CONFLICT (entity_key, time) DO NOTHING
  RETURNING 1
)
SELECT count(*) FROM stored;

-- name: find_entity
-- Returns the key of an entity ($2) as a tenant ($1) sees it: its own before the public one.
SELECT entity_key
FROM trajectory.entities
WHERE entity_id = $2::text AND tenant_id IN ($1::text, 'public')
ORDER BY tenant_id = 'public'
LIMIT 1;

-- name: read_track
-- Returns at most $4 positions of an entity ($1) in [$2, $3) in order of time, each column as one string of big-endian
-- numbers: 100,000 positions arrive as seven values instead of 700,000. Times are microseconds since 2000. The bounds
-- are bare parameters, since under row-level security an expression such as coalesce() would not reach the index.
SELECT
  coalesce(string_agg(timestamptz_send(time), ''), '') AS times,
  coalesce(string_agg(float8send(lat), ''), '') AS lats,
  coalesce(string_agg(float8send(lng), ''), '') AS lngs,
  coalesce(string_agg(float4send(coalesce(altitude, 'NaN')), ''), '') AS altitudes,
  coalesce(string_agg(float4send(coalesce(accuracy, 'NaN')), ''), '') AS accuracies,
  coalesce(string_agg(float4send(coalesce(speed, 'NaN')), ''), '') AS speeds,
  coalesce(string_agg(float4send(coalesce(bearing, 'NaN')), ''), '') AS bearings
FROM (
  SELECT time, lat, lng, altitude, accuracy, speed, bearing
  FROM trajectory.positions
  WHERE entity_key = $1::int8
    AND time >= $2::timestamptz
    AND time < $3::timestamptz
  ORDER BY time
  LIMIT $4::int8
) AS track;

-- name: read_attributes
-- Returns the attributes of an entity's ($1) positions at the times ($2) that have any, in no order.
SELECT time, attributes::text AS attributes
FROM trajectory.positions
WHERE entity_key = $1::int8 AND time = ANY ($2::timestamptz[]) AND attributes IS NOT NULL;

-- name: find_load
-- Returns how far a file ($1, SHA-256) was loaded.
SELECT rows_done, finished_at IS NOT NULL AS finished FROM trajectory.loads WHERE sha256 = $1::text;

-- name: save_load
-- Records that the first $3 rows of a file ($1, SHA-256) named $2 are loaded, and whether ($4) those are all.
INSERT INTO trajectory.loads (sha256, source, rows_done, finished_at)
VALUES ($1::text, $2::text, $3::int8, CASE WHEN $4::bool THEN now() END)
ON CONFLICT (sha256) DO UPDATE SET rows_done = excluded.rows_done, finished_at = excluded.finished_at;
