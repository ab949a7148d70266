-- The tenant is always $1 where stations are read: the caller's own, whose rows come beside those of `public`.
-- Row-level security says the same once more. It takes functions that might leak what they are given out of the index
-- conditions, so that ST_DWithin would read every station; ordering by <-> is no condition and keeps the index, and so
-- do comparisons of lat.

-- name: upsert_stations
-- Stores stations of one tenant and returns how many.
WITH stored AS (
  INSERT INTO airquality.stations (tenant_id, station_id, provider, name, agency, lat, lng)
  SELECT $1::text, given.station_id, given.provider, given.name, given.agency, given.lat, given.lng
  FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::float8[])
    AS given (station_id, provider, name, agency, lat, lng)
  ORDER BY given.station_id
  ON CONFLICT (tenant_id, station_id) DO UPDATE
    SET provider = excluded.provider, name = excluded.name, agency = excluded.agency,
        lat = excluded.lat, lng = excluded.lng
  RETURNING id
)
SELECT count(*) FROM stored;

-- name: find_writable
-- The numbers of those stations that a tenant may write readings of: its own.
SELECT station_id, id
FROM airquality.stations
WHERE tenant_id = $1::text AND station_id = ANY ($2::text[]);

-- name: get_station
-- A station by its id; where a tenant and the public have the same one, the tenant's.
SELECT id, station_id, provider, name, agency, lat, lng
FROM airquality.stations
WHERE tenant_id IN ($1::text, 'public') AND station_id = $2::text
ORDER BY tenant_id = 'public'
LIMIT 1;

-- name: find_stations
-- A page of stations in the order of their registration. The box is west, east, south, north.
SELECT id, station_id, provider, name, agency, lat, lng
FROM airquality.stations
WHERE tenant_id IN ($1::text, 'public')
  AND id > $2::int
  AND lat BETWEEN $5::float8 AND $6::float8
  AND CASE WHEN $3::float8 <= $4::float8 THEN lng BETWEEN $3::float8 AND $4::float8
           ELSE lng >= $3::float8 OR lng <= $4::float8 END
  AND ($7::text IS NULL OR provider = $7::text)
  AND ($8::smallint IS NULL OR EXISTS (
    SELECT FROM airquality.series WHERE series.station_id = stations.id AND series.pollutant = $8::smallint
  ))
ORDER BY id
LIMIT $9::int;

-- name: find_stations_near
-- A page of stations within a radius in metres ($13) of a point (lng $10, lat $11), the nearest first, after one at
-- the distance $12 with the number $2. The latitudes $5 to $6 must enclose the circle: they are what the index serves.
SELECT id, station_id, provider, name, agency, lat, lng, distance
FROM (
  SELECT id, station_id, provider, name, agency, lat, lng, public.ST_Distance(
    location, public.ST_SetSRID(public.ST_MakePoint($10::float8, $11::float8), 4326)::public.geography
  ) AS distance
  FROM airquality.stations
  WHERE tenant_id IN ($1::text, 'public')
    AND lat BETWEEN $5::float8 AND $6::float8
    AND CASE WHEN $3::float8 <= $4::float8 THEN lng BETWEEN $3::float8 AND $4::float8
             ELSE lng >= $3::float8 OR lng <= $4::float8 END
    AND ($7::text IS NULL OR provider = $7::text)
    AND ($8::smallint IS NULL OR EXISTS (
      SELECT FROM airquality.series WHERE series.station_id = stations.id AND series.pollutant = $8::smallint
    ))
) AS found
WHERE distance <= $13::float8 AND (distance, id) > ($12::float8, $2::int)
ORDER BY distance, id
LIMIT $9::int;

-- name: find_latest
-- The newest reading of every series of some stations.
SELECT series.station_id AS id, series.pollutant, series.averaging_period, latest.time, latest.value, latest.unit
FROM airquality.series
CROSS JOIN LATERAL (
  SELECT time, value, unit
  FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period
  ORDER BY time DESC
  LIMIT 1
) AS latest
WHERE series.station_id = ANY ($1::int[])
ORDER BY series.station_id, series.pollutant, series.averaging_period;

-- name: find_conditions
-- What the stations around a point (lat $2, lng $3) reported of periods that had begun at the moment $4 and ended not
-- more than $6 seconds before: for each pollutant the newest reading of each averaging period of the five nearest
-- stations that have one within $5 metres, with the twelve hourly values up to it where it is an hourly one and newer
-- than the NowCast, which was made of them. Of all stations the 64 nearest are looked at. The hours are those of UTC, in
-- hours since 1970 and in the order of time, the values in the units beside them.
WITH near AS MATERIALIZED (
  SELECT id, station_id, provider, name, agency, lat, lng, public.ST_Distance(location, place) AS distance
  FROM (
    SELECT id, station_id, provider, name, agency, lat, lng, location,
           public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography AS place
    FROM airquality.stations
    WHERE tenant_id IN ($1::text, 'public')
    ORDER BY location OPERATOR(public.<->)
             public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
    LIMIT 64
  ) AS nearest
), newest AS (
  SELECT near.id, series.pollutant, series.averaging_period, latest.time, latest.value, latest.unit,
         max(latest.time) FILTER (WHERE series.averaging_period = 4)
           OVER (PARTITION BY series.pollutant, near.id) AS nowcast_time,
         dense_rank() OVER (PARTITION BY series.pollutant ORDER BY near.distance, near.id) AS place
  FROM near
  JOIN airquality.series ON series.station_id = near.id
  CROSS JOIN LATERAL (
    SELECT readings.time, readings.value, readings.unit
    FROM airquality.readings
    WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
      AND readings.averaging_period = series.averaging_period
      AND readings.time <= $4::timestamptz
      AND readings.time > $4::timestamptz - interval '1 second' * (
        $6::float8 + CASE series.averaging_period WHEN 2 THEN 28800 WHEN 3 THEN 86400 ELSE 3600 END)
    ORDER BY readings.time DESC
    LIMIT 1
  ) AS latest
  WHERE near.distance <= $5::float8
)
SELECT near.id, near.station_id, near.provider, near.name, near.agency, near.lat, near.lng, near.distance,
       newest.pollutant, newest.averaging_period, newest.time, newest.value, newest.unit,
       hourly.hours, hourly.values, hourly.units
FROM newest
JOIN near USING (id)
LEFT JOIN LATERAL (
  SELECT array_agg(ordered.hour) AS hours, array_agg(ordered.value) AS values, array_agg(ordered.unit) AS units
  FROM (
    SELECT floor(extract(epoch FROM readings.time) / 3600)::int8 AS hour, readings.value, readings.unit
    FROM airquality.readings
    WHERE newest.averaging_period = 1 AND newest.time > coalesce(newest.nowcast_time, '-infinity')
      AND readings.station_id = newest.id AND readings.pollutant = newest.pollutant AND readings.averaging_period = 1
      AND readings.time <= newest.time
      AND readings.time >= date_trunc('hour', newest.time, 'UTC') - interval '11 hours'
    ORDER BY readings.time
  ) AS ordered
) AS hourly ON true
WHERE newest.place <= 5
ORDER BY newest.pollutant, newest.place, newest.averaging_period;

-- name: find_nearest_reporter
-- The nearest station of all to a point (lat $2, lng $3), with its first reading ever and its last one up to $4.
SELECT nearest.id, nearest.station_id, nearest.provider, nearest.name, nearest.agency, nearest.lat, nearest.lng,
       public.ST_Distance(
         nearest.location, public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
       ) AS distance,
       min(first.time) AS first_time, max(last.time) AS last_time
FROM (
  SELECT id, station_id, provider, name, agency, lat, lng, location
  FROM airquality.stations
  WHERE tenant_id IN ($1::text, 'public')
  ORDER BY location OPERATOR(public.<->)
           public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
  LIMIT 1
) AS nearest
LEFT JOIN airquality.series ON series.station_id = nearest.id
LEFT JOIN LATERAL (
  SELECT time FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period
  ORDER BY time
  LIMIT 1
) AS first ON true
LEFT JOIN LATERAL (
  SELECT time FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period AND time <= $4::timestamptz
  ORDER BY time DESC
  LIMIT 1
) AS last ON true
GROUP BY nearest.id, nearest.station_id, nearest.provider, nearest.name, nearest.agency, nearest.lat, nearest.lng,
         nearest.location;

-- name: find_near
-- The nearest stations to a point (lat $2, lng $3) within $4 metres, at most $5.
SELECT id, station_id, provider, name, agency, lat, lng, distance
FROM (
  SELECT id, station_id, provider, name, agency, lat, lng, public.ST_Distance(
    location, public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
  ) AS distance
  FROM airquality.stations
  WHERE tenant_id IN ($1::text, 'public')
  ORDER BY location OPERATOR(public.<->)
           public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
  LIMIT $5::int
) AS nearest
WHERE distance <= $4::float8
ORDER BY distance, id;

-- name: find_readings
-- A page of readings of some stations in [$4, $5), the newest first, after the key $6, $7, $8, $9. Each series gives
-- at most one page, straight from the key of readings.
SELECT series.station_id AS id, series.pollutant, series.averaging_period, reading.time, reading.value, reading.unit
FROM airquality.series
CROSS JOIN LATERAL (
  SELECT time, value, unit
  FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period
    AND time >= coalesce($4::timestamptz, '-infinity') AND time < coalesce($5::timestamptz, 'infinity')
    AND time <= coalesce($6::timestamptz, 'infinity')
    AND ($6::timestamptz IS NULL OR (time, series.station_id, series.pollutant, series.averaging_period)
         < ($6::timestamptz, $7::int, $8::int, $9::int))
  ORDER BY time DESC
  LIMIT $10::int
) AS reading
WHERE series.station_id = ANY ($1::int[])
  AND ($2::smallint IS NULL OR series.pollutant = $2::smallint)
  AND ($3::smallint IS NULL OR series.averaging_period = $3::smallint)
ORDER BY reading.time DESC, series.station_id DESC, series.pollutant DESC, series.averaging_period DESC
LIMIT $10::int;

-- name: find_sources
-- Of stations in their order of preference, for each pollutant the first that has any reading in [$2, $3).
SELECT DISTINCT ON (series.pollutant) series.pollutant, given.id
FROM unnest($1::int[]) WITH ORDINALITY AS given (id, preference)
JOIN airquality.series ON series.station_id = given.id
WHERE ($4::smallint IS NULL OR series.pollutant = $4::smallint)
  AND EXISTS (
    SELECT FROM airquality.readings
    WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
      AND readings.averaging_period = series.averaging_period
      AND time >= $2::timestamptz AND time < $3::timestamptz
  )
ORDER BY series.pollutant, given.preference;

-- name: find_values
-- All readings of some stations' pollutants (pairs in $1 and $2) in [$3, $4), one row a series, in order of time. The
-- times are in microseconds since 1970, the values in the units beside them.
SELECT series.pollutant, series.averaging_period, found.times, found.values, found.units
FROM unnest($1::int[], $2::smallint[]) AS given (id, pollutant)
JOIN airquality.series ON series.station_id = given.id AND series.pollutant = given.pollutant
CROSS JOIN LATERAL (
  SELECT array_agg((extract(epoch FROM time) * 1000000)::int8 ORDER BY time) AS times,
         array_agg(value ORDER BY time) AS values, array_agg(unit ORDER BY time) AS units
  FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period
    AND time >= $3::timestamptz AND time < $4::timestamptz
) AS found
WHERE found.times IS NOT NULL;

-- name: ensure_partition
-- Makes room for readings of the month of a moment.
SELECT airquality.ensure_readings_partition($1::timestamptz);

-- name: make_staging
-- Where a session copies readings before it merges them. It holds rows only within a transaction.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_readings (
  time timestamptz NOT NULL,
  value double precision NOT NULL,
  station_id int NOT NULL,
  pollutant smallint NOT NULL,
  averaging_period smallint NOT NULL,
  unit smallint NOT NULL
) ON COMMIT DELETE ROWS;

-- name: merge_staged
-- Stores the staged readings and corrects those that differ from what was known. In the order of the key, which is
-- the fastest and keeps two sessions that write the same rows from waiting for each other in a circle.
INSERT INTO airquality.readings (time, value, station_id, pollutant, averaging_period, unit)
SELECT time, value, station_id, pollutant, averaging_period, unit
FROM pg_temp.staged_readings
ORDER BY station_id, pollutant, averaging_period, time
ON CONFLICT (station_id, pollutant, averaging_period, time) DO UPDATE
  SET value = excluded.value, unit = excluded.unit
  WHERE (readings.value, readings.unit) IS DISTINCT FROM (excluded.value, excluded.unit);

-- name: add_series
-- Notes which pollutants and averaging periods a station reports.
INSERT INTO airquality.series (station_id, pollutant, averaging_period)
SELECT given.station_id, given.pollutant, given.averaging_period
FROM unnest($1::int[], $2::smallint[], $3::smallint[]) AS given (station_id, pollutant, averaging_period)
ORDER BY given.station_id, given.pollutant, given.averaging_period
ON CONFLICT DO NOTHING;

-- name: find_loaded
-- The parts of a source that are loaded, with what they were loaded from.
SELECT part, digest FROM airquality.loads WHERE source = $1::text;

-- name: note_loaded
-- Notes that a part of a source is loaded, in the transaction that loads it.
INSERT INTO airquality.loads (source, part, digest, row_count)
VALUES ($1::text, $2::text, $3::text, $4::int8)
ON CONFLICT (source, part) DO UPDATE SET digest = excluded.digest, row_count = excluded.row_count, loaded_at = now();

-- Alerts. Every statement runs as one tenant, to whose rows row-level security holds it too; only the two functions of
-- the migration look over all.

-- name: lock_alert_rules
-- Lets one at a time count a tenant's rules and add to them.
SELECT pg_advisory_xact_lock(hashtextextended('airquality.alert_rules/' || $1::text, 0));

-- name: count_alert_rules
-- How many rules a tenant has.
SELECT count(*) FROM airquality.alert_rules WHERE tenant_id = $1::text;

-- name: find_alert_station
-- Whose a station is that a tenant sees under an id: its own before the public one.
SELECT tenant_id FROM airquality.stations
WHERE tenant_id IN ($1::text, 'public') AND station_id = $2::text
ORDER BY tenant_id = 'public' LIMIT 1;

-- name: explain_area
-- What is wrong with a GeoJSON geometry; NULL when nothing is.
SELECT nullif(public.ST_IsValidReason(public.ST_SetSRID(public.ST_GeomFromGeoJSON($1::text), 4326)), 'Valid Geometry');

-- name: add_alert_rule
-- Stores a rule.
INSERT INTO airquality.alert_rules (
  tenant_id, definition, paused, pollutant, station_tenant, station_id, center, radius_meters, area, webhook_secret
)
VALUES (
  $1::text, $2::text::jsonb, $3::boolean, $4::smallint, $5::text, $6::text,
  public.ST_SetSRID(public.ST_MakePoint($7::float8, $8::float8), 4326)::public.geography, $9::float8,
  public.ST_SetSRID(public.ST_GeomFromGeoJSON($10::text), 4326), $11::bytea
)
RETURNING rule_id, definition, state, created_at, updated_at;

-- name: change_alert_rule
-- Replaces a rule; its state is kept where the new rule judges as the old one did. Without a webhook there is no secret,
-- and a secret that is there is kept.
UPDATE airquality.alert_rules
SET definition = $3::text::jsonb, paused = $4::boolean, pollutant = $5::smallint, station_tenant = $6::text,
    station_id = $7::text, center = public.ST_SetSRID(public.ST_MakePoint($8::float8, $9::float8), 4326)::public.geography,
    radius_meters = $10::float8, area = public.ST_SetSRID(public.ST_GeomFromGeoJSON($11::text), 4326),
    webhook_secret = $12::bytea, state = CASE WHEN $13::boolean THEN state ELSE '{}' END, updated_at = now()
WHERE tenant_id = $1::text AND rule_id = $2::uuid
RETURNING rule_id, definition, state, created_at, updated_at;

-- name: get_alert_rule
-- A rule.
SELECT rule_id, definition, state, created_at, updated_at
FROM airquality.alert_rules
WHERE tenant_id = $1::text AND rule_id = $2::uuid;

-- name: get_alert_rule_to_change
-- A rule with its sealed secret, which nobody else changes meanwhile.
SELECT rule_id, definition, state, created_at, updated_at, webhook_secret
FROM airquality.alert_rules
WHERE tenant_id = $1::text AND rule_id = $2::uuid
FOR UPDATE;

-- name: list_alert_rules
-- A page of rules, the oldest first.
SELECT rule_id, definition, state, created_at, updated_at
FROM airquality.alert_rules
WHERE tenant_id = $1::text AND ($2::timestamptz IS NULL OR (created_at, rule_id) > ($2::timestamptz, $3::uuid))
ORDER BY created_at, rule_id
LIMIT $4::int;

-- name: delete_alert_rule
-- Deletes a rule with its deliveries.
DELETE FROM airquality.alert_rules WHERE tenant_id = $1::text AND rule_id = $2::uuid;

-- name: set_webhook_secret
-- Replaces the sealed secret of a rule.
UPDATE airquality.alert_rules SET webhook_secret = $3::bytea, updated_at = now()
WHERE tenant_id = $1::text AND rule_id = $2::uuid
RETURNING rule_id, definition, state, created_at, updated_at;

-- name: get_alert_progress
-- The last event that was evaluated.
SELECT event_id FROM airquality.alert_progress;

-- name: lock_alert_progress
-- The same, and nobody else evaluates until the transaction's end.
SELECT event_id FROM airquality.alert_progress FOR UPDATE;

-- name: set_alert_progress
-- Notes that an event is evaluated.
UPDATE airquality.alert_progress SET event_id = $1::int8;

-- name: act_as_tenant
-- Binds the rest of the transaction to one tenant.
SELECT set_config('geomesh.tenant', $1::text, true);

-- name: find_alert_matches
-- Which rules look at which readings.
SELECT tenant_id, rule_id, place, distance_meters
FROM airquality.find_alert_matches($1::text[], $2::text[], $3::float8[], $4::float8[], $5::smallint[]);

-- name: find_rules_to_evaluate
-- Rules of one tenant, which nobody else changes until the transaction's end.
SELECT rule_id, definition, state, created_at, updated_at
FROM airquality.alert_rules
WHERE tenant_id = $1::text AND rule_id = ANY ($2::uuid[])
ORDER BY rule_id
FOR UPDATE;

-- name: set_alert_states
-- Stores where rules stand.
UPDATE airquality.alert_rules AS r SET state = given.state::jsonb
FROM unnest($2::uuid[], $3::text[]) AS given (rule_id, state)
WHERE r.tenant_id = $1::text AND r.rule_id = given.rule_id;

-- name: add_alerts
-- Stores alerts in the order given, and once.
INSERT INTO airquality.alerts (tenant_id, alert_id, rule_id, event_id, kind, severity, body)
SELECT $1::text, g.alert_id, g.rule_id, $2::int8, g.kind, g.severity, g.body::jsonb
FROM unnest($3::uuid[], $4::uuid[], $5::smallint[], $6::smallint[], $7::text[]) WITH ORDINALITY
  AS g (alert_id, rule_id, kind, severity, body, place)
ORDER BY g.place
ON CONFLICT DO NOTHING;

-- name: add_alert_deliveries
-- Has alerts posted.
INSERT INTO airquality.alert_deliveries (tenant_id, alert_id, rule_id, next_attempt_at)
SELECT $1::text, g.alert_id, g.rule_id, g.due
FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) AS g (alert_id, rule_id, due)
ON CONFLICT DO NOTHING;

-- name: list_alerts
-- A page of alerts, the newest first.
SELECT number, kind, severity, body
FROM airquality.alerts
WHERE tenant_id = $1::text AND ($2::uuid IS NULL OR rule_id = $2::uuid) AND ($3::smallint = 0 OR kind = $3::smallint)
  AND ($4::int8 IS NULL OR number < $4::int8)
ORDER BY number DESC
LIMIT $5::int;

-- name: find_alerts_after
-- Alerts after a number, in order.
SELECT number, kind, severity, body
FROM airquality.alerts
WHERE tenant_id = $1::text AND number > $2::int8 AND ($3::uuid IS NULL OR rule_id = $3::uuid)
ORDER BY number
LIMIT $4::int;

-- name: get_newest_alert
-- The number of the newest alert.
SELECT coalesce(max(number), 0) FROM airquality.alerts WHERE tenant_id = $1::text;

-- name: get_alert_number
-- The number of an alert.
SELECT number FROM airquality.alerts WHERE tenant_id = $1::text AND alert_id = $2::uuid;

-- name: claim_alert_deliveries
-- Takes deliveries that are due.
SELECT tenant_id, alert_id, claim, attempts, url, webhook_secret, body
FROM airquality.claim_alert_deliveries($1::int, $2::int, $3::float8);

-- name: note_alert_delivery
-- Notes what became of a try, unless another one has begun since.
UPDATE airquality.alert_deliveries
SET state = $4::smallint, next_attempt_at = coalesce($5::timestamptz, next_attempt_at), problem = $6::text,
    claim = NULL, claimed_until = NULL, updated_at = now()
WHERE tenant_id = $1::text AND alert_id = $2::uuid AND claim = $3::uuid;

-- name: list_alert_deliveries
-- A page of deliveries, the newest alert first.
SELECT a.number, a.kind, a.severity, a.body, d.state, d.attempts, d.next_attempt_at, d.problem
FROM airquality.alert_deliveries AS d
JOIN airquality.alerts AS a USING (tenant_id, alert_id)
WHERE d.tenant_id = $1::text AND ($2::smallint = 0 OR d.state = $2::smallint) AND ($3::int8 IS NULL OR a.number < $3::int8)
ORDER BY a.number DESC
LIMIT $4::int;

-- name: replay_alert_delivery
-- Has a delivery tried anew, unless it waits already.
UPDATE airquality.alert_deliveries AS d
SET state = 1, attempts = 0, next_attempt_at = now(), claim = NULL, claimed_until = NULL, problem = '', updated_at = now()
FROM airquality.alerts AS a
WHERE d.tenant_id = $1::text AND d.alert_id = $2::uuid AND d.state <> 1
  AND (a.tenant_id, a.alert_id) = (d.tenant_id, d.alert_id)
RETURNING a.number, a.kind, a.severity, a.body, d.state, d.attempts, d.next_attempt_at, d.problem;

-- name: get_alert_delivery
-- A delivery.
SELECT a.number, a.kind, a.severity, a.body, d.state, d.attempts, d.next_attempt_at, d.problem
FROM airquality.alert_deliveries AS d
JOIN airquality.alerts AS a USING (tenant_id, alert_id)
WHERE d.tenant_id = $1::text AND d.alert_id = $2::uuid;
