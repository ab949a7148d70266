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
-- The numbers of those stations that a tenant may write readings of: its own. A sensor goes by its station's id, a
-- slash, which no id has, and its own.
SELECT stations.station_id, stations.id, NULL::int AS station, NULL::smallint[] AS speaks_for,
       false AS low_cost, 0::smallint AS correction
FROM airquality.stations
WHERE stations.tenant_id = $1::text AND stations.station_id = ANY ($2::text[])
UNION ALL
SELECT given.name, sensors.id, sensors.station, sensors.speaks_for, sensors.low_cost, sensors.correction
FROM unnest($2::text[]) AS given (name)
JOIN airquality.stations ON stations.tenant_id = $1::text AND stations.station_id = split_part(given.name, '/', 1)
JOIN airquality.sensors ON sensors.station = stations.id AND sensors.sensor_id = split_part(given.name, '/', 2)
WHERE given.name LIKE '%/%';

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
-- The newest reading of every series of some stations that counts: the bit 64 of flags is quality.Flag.EXCLUDED.
SELECT series.station_id AS id, series.pollutant, series.averaging_period, latest.time, latest.value, latest.unit,
       latest.flags
FROM airquality.series
CROSS JOIN LATERAL (
  SELECT time, value, unit, flags
  FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period AND readings.flags & 64 = 0
  ORDER BY time DESC
  LIMIT 1
) AS latest
WHERE series.station_id = ANY ($1::int[])
ORDER BY series.station_id, series.pollutant, series.averaging_period;

-- name: find_conditions
-- What the stations around a point (lat $2, lng $3) reported of periods that had begun at the moment $4 and ended not
-- more than $6 seconds before: for each pollutant the newest reading of each averaging period of the eight nearest
-- stations that have one within $5 metres. Beside an hourly one come the hourly values up to it, as many as $7 says at
-- the code of the pollutant, unless $8 holds there and a NowCast is as new, which was made of them. Of all stations the 64
-- nearest are looked at. The hours are those of UTC, in hours since 1970 and in the order of time, the values in the
-- units beside them. What quality control excluded (bit 64 of flags) counts only where $9 says so. Nothing from before $10
-- can be among them: it follows from the rest, and is there for Postgres to leave out the months that are too old.
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
      AND readings.time <= $4::timestamptz AND readings.time >= $10::timestamptz
      AND ($9::boolean OR readings.flags & 64 = 0)
      AND readings.time > $4::timestamptz - interval '1 second' * (
        $6::float8 + CASE series.averaging_period WHEN 2 THEN 28800 WHEN 3 THEN 86400 WHEN 5 THEN 900
                     WHEN 6 THEN 10800 WHEN 7 THEN 14400 ELSE 3600 END)
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
    WHERE newest.averaging_period = 1
      AND ($7::int[])[newest.pollutant] > 1
      AND (NOT ($8::boolean[])[newest.pollutant] OR newest.time > coalesce(newest.nowcast_time, '-infinity'))
      AND readings.station_id = newest.id AND readings.pollutant = newest.pollutant AND readings.averaging_period = 1
      AND readings.time <= newest.time AND readings.time <= $4::timestamptz AND readings.time >= $10::timestamptz
      AND ($9::boolean OR readings.flags & 64 = 0)
      AND readings.time >= date_trunc('hour', newest.time, 'UTC')
                           - interval '1 hour' * (($7::int[])[newest.pollutant] - 1)
    ORDER BY readings.time
  ) AS ordered
) AS hourly ON true
WHERE newest.place <= 8
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
SELECT series.station_id AS id, series.pollutant, series.averaging_period, reading.time, reading.value, reading.unit,
       reading.flags
FROM airquality.series
CROSS JOIN LATERAL (
  SELECT time, value, unit, flags
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
-- Of stations in their order of preference, for each pollutant the first that has any hour from hour $3 of the day $2 of
-- UTC to hour $5 of the day $4: one that counts, or where none has that, one that quality control excluded. Every day has
-- an hour; only where a day is asked for in part its hours are looked at, 14 bytes each, of which 7ff8 in the first two is
-- no value, and bit 64 of the last says that it is excluded.
SELECT DISTINCT ON (series.pollutant) series.pollutant, given.id
FROM unnest($1::int[]) WITH ORDINALITY AS given (id, preference)
JOIN airquality.series ON series.station_id = given.id
CROSS JOIN LATERAL (
  SELECT EXISTS (
    SELECT FROM airquality.days
    CROSS JOIN LATERAL generate_series(
      CASE day WHEN $2::date THEN $3::int ELSE 0 END, CASE day WHEN $4::date THEN $5::int ELSE 23 END
    ) AS hour
    WHERE days.station_id = series.station_id AND days.pollutant = series.pollutant
      AND days.averaging_period = series.averaging_period
      AND day BETWEEN $2::date AND $4::date
      AND substring(days.hours FROM 14 * hour + 1 FOR 2) <> '\x7ff8'::bytea
      AND (NOT counting.demanded OR get_byte(days.hours, 14 * hour + 13) & 64 = 0)
  ) AS there, counting.demanded
  FROM (VALUES (true), (false)) AS counting (demanded)
) AS hours
WHERE ($6::smallint IS NULL OR series.pollutant = $6::smallint) AND hours.there
ORDER BY series.pollutant, hours.demanded DESC, given.preference;

-- name: find_history
-- The days of some stations' pollutants (pairs in $1 and $2) from $3 to $4, one row a series, in order of time: the days
-- since 1970 and all their hours, one after another.
SELECT series.pollutant, series.averaging_period, found.days, found.hours
FROM unnest($1::int[], $2::smallint[]) AS given (id, pollutant)
JOIN airquality.series ON series.station_id = given.id AND series.pollutant = given.pollutant
CROSS JOIN LATERAL (
  SELECT array_agg(ordered.day - date '1970-01-01') AS days, string_agg(ordered.hours, ''::bytea) AS hours
  FROM (
    SELECT days.day, days.hours
    FROM airquality.days
    WHERE days.station_id = series.station_id AND days.pollutant = series.pollutant
      AND days.averaging_period = series.averaging_period
      AND days.day BETWEEN $3::date AND $4::date
    ORDER BY days.day
  ) AS ordered
) AS found
WHERE found.days IS NOT NULL;

-- name: ensure_partition
-- Makes room for readings of the month of a moment.
SELECT airquality.ensure_readings_partition($1::timestamptz);

-- name: make_staging
-- Where a session copies readings that correct others. It holds rows only within a transaction.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_readings (
  time timestamptz NOT NULL,
  value double precision NOT NULL,
  station_id int NOT NULL,
  pollutant smallint NOT NULL,
  averaging_period smallint NOT NULL,
  unit smallint NOT NULL,
  flags smallint NOT NULL
) ON COMMIT DELETE ROWS;

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

-- Memory: how readings are stored, what they were before, and what is made of them as they come.

-- name: ensure_days
-- Makes room for the days of the year of a moment.
SELECT airquality.ensure_days_partition($1::timestamptz);

-- name: lock_series
-- Keeps other sessions from writing the same series until the end of the transaction. In the order of the key, so that
-- no two wait for each other in a circle.
SELECT count(*) FROM (
  SELECT FROM airquality.series
  JOIN unnest($1::int[], $2::smallint[], $3::smallint[]) AS given (station_id, pollutant, averaging_period)
    USING (station_id, pollutant, averaging_period)
  ORDER BY series.station_id, series.pollutant, series.averaging_period
  FOR NO KEY UPDATE OF series
) AS locked;

-- name: look_up_by_key
-- Thousands of keys are looked up one by one, however many rows there are beside them: a hash would read them all.
SELECT set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true);

-- name: find_days
-- The hours of some series' days, given as days since 1970: place among those given, and hours.
SELECT given.place, days.hours
FROM unnest($1::int[], $2::smallint[], $3::smallint[], $4::int[]) WITH ORDINALITY
  AS given (station_id, pollutant, averaging_period, day, place)
JOIN airquality.days
  ON days.station_id = given.station_id AND days.pollutant = given.pollutant
  AND days.averaging_period = given.averaging_period AND days.day = date '1970-01-01' + given.day;

-- name: find_known
-- What is stored under some keys, their times in microseconds since 1970: place among those given, value, unit, flags.
SELECT given.place, readings.value, readings.unit, readings.flags
FROM unnest($1::int[], $2::smallint[], $3::smallint[], $4::int8[]) WITH ORDINALITY
  AS given (station_id, pollutant, averaging_period, time, place)
JOIN airquality.readings
  ON readings.station_id = given.station_id AND readings.pollutant = given.pollutant
  AND readings.averaging_period = given.averaging_period
  AND readings.time = timestamptz 'epoch' + given.time * interval '1 microsecond';

-- name: keep_replaced
-- Keeps what the staged readings replace.
INSERT INTO airquality.corrections (station_id, pollutant, averaging_period, time, value, unit, flags)
SELECT readings.station_id, readings.pollutant, readings.averaging_period, readings.time, readings.value, readings.unit,
       readings.flags
FROM pg_temp.staged_readings AS staged
JOIN airquality.readings USING (station_id, pollutant, averaging_period, time);

-- name: correct_staged
-- Corrects the readings that are staged.
UPDATE airquality.readings
SET value = staged.value, unit = staged.unit, flags = staged.flags
FROM pg_temp.staged_readings AS staged
WHERE readings.station_id = staged.station_id AND readings.pollutant = staged.pollutant
  AND readings.averaging_period = staged.averaging_period AND readings.time = staged.time;

-- name: put_days
-- Stores the days of series, given as days since 1970.
INSERT INTO airquality.days
  (day, station_id, pollutant, averaging_period, hour_count, flagged_count, mean, minimum, maximum, hours)
SELECT date '1970-01-01' + given.day, given.station_id, given.pollutant, given.averaging_period, given.hour_count,
       given.flagged_count, given.mean, given.minimum, given.maximum, given.hours
FROM unnest($1::int[], $2::smallint[], $3::smallint[], $4::int[], $5::smallint[], $6::smallint[], $7::float8[],
            $8::float8[], $9::float8[], $10::bytea[])
  AS given (station_id, pollutant, averaging_period, day, hour_count, flagged_count, mean, minimum, maximum, hours)
ON CONFLICT (station_id, pollutant, averaging_period, day) DO UPDATE
  SET hour_count = excluded.hour_count, flagged_count = excluded.flagged_count, mean = excluded.mean,
      minimum = excluded.minimum, maximum = excluded.maximum, hours = excluded.hours;

-- name: find_neighbours
-- The stations within $2 metres of each of some stations, the nearest first, at most $3.
SELECT given.id, near.id AS neighbour
FROM unnest($1::int[]) AS given (id)
JOIN airquality.stations AS own ON own.id = given.id
CROSS JOIN LATERAL (
  SELECT nearest.id, nearest.distance
  FROM (
    SELECT stations.id, public.ST_Distance(stations.location, own.location, false) AS distance
    FROM airquality.stations
    WHERE stations.tenant_id IN ($4::text, 'public')
    ORDER BY stations.location OPERATOR(public.<->) own.location
    LIMIT $3::int + 1
  ) AS nearest
  WHERE nearest.id <> given.id AND nearest.distance <= $2::float8
  ORDER BY nearest.distance
  LIMIT $3::int
) AS near
ORDER BY given.id, near.distance;

-- name: find_corrections
-- A page of what readings of one series holder ($1) said before, the last replaced first, after the key $6, $7, $8, $9.
SELECT station_id AS id, pollutant, averaging_period, time, replaced_at, value, unit, flags
FROM airquality.corrections
WHERE station_id = $1::int
  AND ($2::smallint IS NULL OR pollutant = $2::smallint)
  AND ($3::smallint IS NULL OR averaging_period = $3::smallint)
  AND time >= coalesce($4::timestamptz, '-infinity') AND time < coalesce($5::timestamptz, 'infinity')
  AND ($6::timestamptz IS NULL
       OR (replaced_at, time, pollutant, averaging_period) < ($6::timestamptz, $7::timestamptz, $8::int, $9::int))
ORDER BY replaced_at DESC, time DESC, pollutant DESC, averaging_period DESC
LIMIT $10::int;

-- name: silence_sensors
-- Lets the sensors of some stations of one tenant speak for nothing, until upsert_sensors says which do.
UPDATE airquality.sensors
SET speaks_for = '{}'
FROM airquality.stations
WHERE stations.tenant_id = $1::text AND stations.station_id = ANY ($2::text[]) AND sensors.station = stations.id;

-- name: upsert_sensors
-- Stores sensors of stations of one tenant, found by their ids.
INSERT INTO airquality.sensors
  (tenant_id, station, sensor_id, place, model, low_cost, correction, pollutants, speaks_for)
SELECT $1::text, stations.id, given.sensor_id, given.place, given.model, given.low_cost, given.correction,
       string_to_array(given.pollutants, ' ')::smallint[], string_to_array(given.speaks_for, ' ')::smallint[]
FROM unnest($2::text[], $3::text[], $4::smallint[], $5::text[], $6::boolean[], $7::smallint[], $8::text[], $9::text[])
  AS given (station_id, sensor_id, place, model, low_cost, correction, pollutants, speaks_for)
JOIN airquality.stations ON stations.tenant_id = $1::text AND stations.station_id = given.station_id
ORDER BY stations.id, given.sensor_id
ON CONFLICT (station, sensor_id) DO UPDATE
  SET place = excluded.place, model = excluded.model, low_cost = excluded.low_cost, correction = excluded.correction,
      pollutants = excluded.pollutants, speaks_for = excluded.speaks_for;

-- name: find_sensors
-- The sensors of some stations, in their order.
SELECT id, station, sensor_id, model, low_cost, correction, pollutants
FROM airquality.sensors
WHERE station = ANY ($1::int[])
ORDER BY station, place, id;

-- name: find_moved
-- Those of a tenant's stations that have readings and would be moved by more than $5 metres, with the distance.
SELECT given.station_id, public.ST_Distance(
  stations.location, public.ST_SetSRID(public.ST_MakePoint(given.lng, given.lat), 4326)::public.geography
) AS distance
FROM unnest($2::text[], $3::float8[], $4::float8[]) AS given (station_id, lat, lng)
JOIN airquality.stations ON stations.tenant_id = $1::text AND stations.station_id = given.station_id
WHERE (stations.lat, stations.lng) IS DISTINCT FROM (given.lat, given.lng)
  AND EXISTS (SELECT FROM airquality.series WHERE series.station_id = stations.id)
  AND public.ST_Distance(
    stations.location, public.ST_SetSRID(public.ST_MakePoint(given.lng, given.lat), 4326)::public.geography
  ) > $5::float8;

-- name: drop_partitions
-- Drops what is older than readings ($1) and days ($2) are kept; for the owner alone.
SELECT airquality.drop_partitions($1::timestamptz, $2::timestamptz);

-- name: find_all_series
-- Every series, in order.
SELECT station_id, pollutant, averaging_period FROM airquality.series
ORDER BY station_id, pollutant, averaging_period;

-- name: find_raw
-- All readings of one series in order of time, in microseconds since 1970, with value, unit and flags as columns.
SELECT array_agg((extract(epoch FROM time) * 1000000)::int8 ORDER BY time) AS times,
       array_agg(value ORDER BY time) AS values, array_agg(unit ORDER BY time) AS units,
       array_agg(flags ORDER BY time) AS flags
FROM airquality.readings
WHERE station_id = $1::int AND pollutant = $2::smallint AND averaging_period = $3::smallint;

-- name: find_exported_series
-- The series that a tenant ($1) may see, of stations and their sensors: of the stations $2, or all where it is empty, in
-- the box west, east, south, north, of a pollutant or all.
SELECT holders.station_id, holders.sensor_id, holders.lat, holders.lng, holders.id, series.pollutant,
       series.averaging_period
FROM (
  SELECT stations.station_id, '' AS sensor_id, stations.lat, stations.lng, stations.id, stations.tenant_id
  FROM airquality.stations
  UNION ALL
  SELECT stations.station_id, sensors.sensor_id, stations.lat, stations.lng, sensors.id, stations.tenant_id
  FROM airquality.stations
  JOIN airquality.sensors ON sensors.station = stations.id
) AS holders
JOIN airquality.series ON series.station_id = holders.id
WHERE holders.tenant_id IN ($1::text, 'public')
  AND (cardinality($2::text[]) = 0 OR holders.station_id = ANY ($2::text[]))
  AND holders.lat BETWEEN $5::float8 AND $6::float8
  AND CASE WHEN $3::float8 <= $4::float8 THEN holders.lng BETWEEN $3::float8 AND $4::float8
           ELSE holders.lng >= $3::float8 OR holders.lng <= $4::float8 END
  AND ($7::smallint IS NULL OR series.pollutant = $7::smallint)
ORDER BY holders.station_id, holders.sensor_id, series.pollutant, series.averaging_period;

-- name: find_series_readings
-- All readings of one series in [$4, $5), in order of time.
SELECT time, value, unit, flags
FROM airquality.readings
WHERE station_id = $1::int AND pollutant = $2::smallint AND averaging_period = $3::smallint
  AND time >= $4::timestamptz AND time < $5::timestamptz
ORDER BY time;

-- name: describe_stations
-- What events say of some stations, whosever they are.
SELECT id, tenant_id, station_id, provider, lat, lng FROM airquality.describe_stations($1::int[]);

-- name: append_events
-- Adds events in the transaction that stores their readings, as its last statement: from here to the commit no other
-- transaction can. Whoever listens is told at the commit.
WITH last AS (
  UPDATE airquality.last_event SET position = position + cardinality($1::bytea[]) RETURNING position
), added AS (
  INSERT INTO airquality.outbox (position, payload)
  SELECT last.position - cardinality($1::bytea[]) + given.place, given.payload
  FROM last CROSS JOIN unnest($1::bytea[]) WITH ORDINALITY AS given (payload, place)
)
SELECT pg_notify('geomesh_airquality_outbox', '') FROM last;

-- name: find_events
-- Events after a position, in order.
SELECT position, payload FROM airquality.outbox WHERE position > $1::int8 ORDER BY position LIMIT $2::int;

-- name: find_event_bounds
-- The positions of the first event that is kept and of the last one that was ever stored.
SELECT coalesce((SELECT min(position) FROM airquality.outbox), last_event.position + 1) AS first,
       last_event.position AS last
FROM airquality.last_event;

-- name: forget_events
-- Removes events that were handed on, up to a position, and are older than some seconds.
DELETE FROM airquality.outbox
WHERE position <= $1::int8 AND stored_at < clock_timestamp() - interval '1 second' * $2::float8;

-- name: lead_relay
-- Makes this session the one that relays events, unless another one is.
SELECT pg_try_advisory_lock(hashtext('geomesh_airquality_relay'));

-- name: find_watched
-- Whose stations with some ids are: the tenant's own come last, so that they count.
SELECT station_id, tenant_id
FROM airquality.stations
WHERE tenant_id IN ($1::text, 'public') AND station_id = ANY ($2::text[])
ORDER BY tenant_id <> 'public';

-- name: snapshot_watched
-- The stations in a box, or with some ids ($6), that a tenant sees, each with the newest reading of every series that
-- began after $7, has a pollutant of $8 and counts (bit 64 of flags); and the position of the last event that this includes. It is one statement,
-- and so one view of the database: every event up to this position is in it and none after.
WITH found AS (
  SELECT stations.id, stations.tenant_id, stations.station_id, stations.provider, stations.name, stations.agency,
         stations.lat, stations.lng
  FROM airquality.stations
  WHERE stations.tenant_id IN ($1::text, 'public')
    AND CASE WHEN $6::text[] IS NOT NULL THEN stations.station_id = ANY ($6::text[])
        ELSE stations.lat BETWEEN $4::float8 AND $5::float8
          AND CASE WHEN $2::float8 <= $3::float8 THEN stations.lng BETWEEN $2::float8 AND $3::float8
                   ELSE stations.lng >= $2::float8 OR stations.lng <= $3::float8 END
        END
  LIMIT $9::int
)
SELECT last_event.position, found.id, found.tenant_id, found.station_id, found.provider, found.name, found.agency,
       found.lat, found.lng, newest.pollutant, newest.averaging_period, newest.time, newest.value, newest.unit,
       newest.flags
FROM airquality.last_event
LEFT JOIN found ON true
LEFT JOIN LATERAL (
  SELECT series.pollutant, series.averaging_period, latest.time, latest.value, latest.unit, latest.flags
  FROM airquality.series
  CROSS JOIN LATERAL (
    SELECT readings.time, readings.value, readings.unit, readings.flags
    FROM airquality.readings
    WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
      AND readings.averaging_period = series.averaging_period AND readings.time >= $7::timestamptz
      AND readings.flags & 64 = 0
    ORDER BY readings.time DESC
    LIMIT 1
  ) AS latest
  WHERE series.station_id = found.id AND ($8::smallint[] IS NULL OR series.pollutant = ANY ($8::smallint[]))
) AS newest ON true
ORDER BY found.id;

-- name: find_recent
-- What the stations of one tenant, and of no other, reported that may count at the moment $2: a row a series, with its
-- readings in the order of time; a station that reported nothing has one row without a series. Of hours count as many up
-- to the newest, which may be $3 seconds old, as $4 says at the code of the pollutant; of longer averages only the
-- newest. What quality control excluded (bit 64 of flags) does not count. The times are in microseconds since 1970, the
-- values in the units beside them.
SELECT stations.id, stations.station_id, stations.provider, stations.name, stations.agency, stations.lat, stations.lng,
       series.pollutant, series.averaging_period, found.times, found.values, found.units
FROM airquality.stations
LEFT JOIN airquality.series ON series.station_id = stations.id
LEFT JOIN LATERAL (
  SELECT array_agg((extract(epoch FROM time) * 1000000)::int8 ORDER BY time) AS times,
         array_agg(value ORDER BY time) AS values, array_agg(unit ORDER BY time) AS units
  FROM airquality.readings
  WHERE readings.station_id = series.station_id AND readings.pollutant = series.pollutant
    AND readings.averaging_period = series.averaging_period
    AND readings.time <= $2::timestamptz + interval '1 hour' AND readings.flags & 64 = 0
    AND readings.time > $2::timestamptz - interval '1 second' * (
      $3::float8 + CASE series.averaging_period WHEN 1 THEN 3600 * (1 + ($4::int[])[series.pollutant]) WHEN 2 THEN 28800
                   WHEN 3 THEN 86400 WHEN 5 THEN 900 WHEN 6 THEN 10800 WHEN 7 THEN 14400 ELSE 3600 END)
) AS found ON true
WHERE stations.tenant_id = $1::text
ORDER BY stations.id, series.pollutant, series.averaging_period;

-- name: encode_tile
-- A vector tile of shapes ($2, well-known text in pixels from the lower left corner) with their properties ($3, JSON),
-- each in its layer ($1): `contours` below `stations`.
WITH features AS (
  SELECT given.layer,
         public.ST_AsMVTGeom(public.ST_MakeValid(public.ST_GeomFromText(given.shape)),
                             public.ST_MakeBox2D(public.ST_Point(0, 0), public.ST_Point(256, 256)), 4096, 256, true) AS geom,
         given.properties::jsonb AS properties
  FROM unnest($1::text[], $2::text[], $3::text[]) AS given (layer, shape, properties)
)
SELECT coalesce((SELECT public.ST_AsMVT(layer.*, 'contours', 4096, 'geom')
                 FROM (SELECT geom, properties FROM features WHERE layer = 'contours' AND geom IS NOT NULL) AS layer), '')
    || coalesce((SELECT public.ST_AsMVT(layer.*, 'stations', 4096, 'geom')
                 FROM (SELECT geom, properties FROM features WHERE layer = 'stations' AND geom IS NOT NULL) AS layer), '');

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
-- The hourly readings that count of some stations and quantities in [$3, $4), each series as arrays in the order of time: hours of
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
      AND readings.time >= $3::timestamptz AND readings.time < $4::timestamptz AND readings.flags & 64 = 0
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

-- name: delete_old_alerts
-- Deletes at most $2 alerts of all tenants from before $1, with their deliveries, and returns how many: none whose
-- delivery is still tried.
WITH deleted AS (
  DELETE FROM airquality.alerts
  WHERE (tenant_id, alert_id) IN (
    SELECT a.tenant_id, a.alert_id
    FROM airquality.alerts AS a
    WHERE a.created_at < $1::timestamptz
      AND NOT EXISTS (
        SELECT FROM airquality.alert_deliveries AS d
        WHERE d.tenant_id = a.tenant_id AND d.alert_id = a.alert_id AND d.state = 1
      )
    LIMIT $2::int
  )
  RETURNING 1
)
SELECT count(*) FROM deleted;
