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

-- Forecasts

-- name: find_reporters
-- The nearest stations to a point (lat $2, lng $3) within $4 metres that have hourly readings of the pollutant $5, at
-- most $6.
SELECT id, station_id, provider, name, agency, lat, lng, distance
FROM (
  SELECT id, station_id, provider, name, agency, lat, lng, public.ST_Distance(
    location, public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
  ) AS distance
  FROM airquality.stations
  WHERE tenant_id IN ($1::text, 'public')
    AND EXISTS (
      SELECT FROM airquality.series
      WHERE series.station_id = stations.id AND series.pollutant = $5::smallint AND series.averaging_period = 1
    )
  ORDER BY location OPERATOR(public.<->)
           public.ST_SetSRID(public.ST_MakePoint($3::float8, $2::float8), 4326)::public.geography
  LIMIT $6::int
) AS nearest
WHERE distance <= $4::float8
ORDER BY distance, id;

-- name: find_hourly
-- The hourly readings of some stations and quantities in [$3, $4), each series as arrays in the order of time: hours of
-- UTC since 1970, values, and codes of units.
SELECT series.station_id AS id, series.pollutant, found.hours, found.values, found.units
FROM airquality.series
CROSS JOIN LATERAL (
  SELECT array_agg(floor(extract(epoch FROM ordered.time) / 3600)::int8) AS hours,
         array_agg(ordered.value) AS values, array_agg(ordered.unit) AS units
  FROM (
    SELECT readings.time, readings.value, readings.unit
    FROM airquality.readings
    WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
      AND readings.averaging_period = series.averaging_period
      AND readings.time >= $3::timestamptz AND readings.time < $4::timestamptz
    ORDER BY readings.time
  ) AS ordered
) AS found
WHERE series.station_id = ANY ($1::int[]) AND series.pollutant = ANY ($2::smallint[]) AND series.averaging_period = 1
  AND found.hours IS NOT NULL;

-- name: find_trainable
-- The operator's stations that have hourly readings of a pollutant, the lowest number first.
SELECT stations.id, stations.lat, stations.lng
FROM airquality.stations
JOIN airquality.series ON series.station_id = stations.id
WHERE stations.tenant_id = 'public' AND series.pollutant = $1::smallint AND series.averaging_period = 1
ORDER BY stations.id;

-- name: find_reported_time
-- The first and the last hourly reading of a pollutant at some stations.
SELECT min(first.time) AS first_time, max(last.time) AS last_time
FROM unnest($1::int[]) AS given (id)
CROSS JOIN LATERAL (
  SELECT time FROM airquality.readings
  WHERE station_id = given.id AND pollutant = $2::smallint AND averaging_period = 1 ORDER BY time LIMIT 1
) AS first
CROSS JOIN LATERAL (
  SELECT time FROM airquality.readings
  WHERE station_id = given.id AND pollutant = $2::smallint AND averaging_period = 1 ORDER BY time DESC LIMIT 1
) AS last;

-- name: add_forecast_model
-- Stores a model, which does not serve yet, and returns its number.
INSERT INTO airquality.forecast_models
  (pollutant, version, trained_from, trained_until, held_back_from, station_count, artefact)
VALUES ($1::smallint, $2::text, $3::timestamptz, $4::timestamptz, $5::timestamptz, $6::int, $7::bytea)
RETURNING id;

-- name: add_forecast_skill
-- Stores the skill of a model, one row for each of the hours ahead.
INSERT INTO airquality.forecast_skill
  (model_id, horizon, forecast_count, mae, bias, coverage_80, coverage_95, persistence_mae, daily_persistence_mae,
   climatology_mae)
SELECT $1::int, given.horizon, given.forecast_count, given.mae, given.bias, given.coverage_80, given.coverage_95,
       given.persistence_mae, given.daily_persistence_mae, given.climatology_mae
FROM unnest($2::smallint[], $3::int[], $4::float8[], $5::float8[], $6::float8[], $7::float8[], $8::float8[],
            $9::float8[], $10::float8[])
  AS given (horizon, forecast_count, mae, bias, coverage_80, coverage_95, persistence_mae, daily_persistence_mae,
            climatology_mae);

-- name: activate_forecast_model
-- Lets a model serve from now on, and returns its version; none when there is no such version.
UPDATE airquality.forecast_models SET activated_at = clock_timestamp() WHERE version = $1::text RETURNING version;

-- name: find_active_models
-- The version that serves, for each pollutant that has one.
SELECT DISTINCT ON (pollutant) pollutant, version
FROM airquality.forecast_models
WHERE activated_at IS NOT NULL
ORDER BY pollutant, activated_at DESC;

-- name: get_forecast_model
-- A model as it was stored.
SELECT artefact FROM airquality.forecast_models WHERE version = $1::text;

-- name: list_forecast_models
-- All models, the newest first, with the means of their skill over the first day.
SELECT models.version, models.pollutant, models.trained_from, models.trained_until, models.held_back_from,
       models.station_count, models.created_at, models.activated_at, skill.mae, skill.persistence_mae
FROM airquality.forecast_models AS models
LEFT JOIN LATERAL (
  SELECT avg(mae) AS mae, avg(persistence_mae) AS persistence_mae
  FROM airquality.forecast_skill WHERE model_id = models.id AND horizon <= 24
) AS skill ON true
ORDER BY models.created_at DESC;
