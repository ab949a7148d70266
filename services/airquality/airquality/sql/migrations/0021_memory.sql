-- migrate:up

-- What quality control found, a bit set of airquality.quality.Flag; 0 is good. Adding a constant default rewrites nothing.
ALTER TABLE airquality.readings ADD COLUMN flags smallint NOT NULL DEFAULT 0;

-- What a reading said before it was corrected. There are few of them, so one table does.
CREATE TABLE airquality.corrections (
  station_id int NOT NULL,
  pollutant smallint NOT NULL,
  averaging_period smallint NOT NULL,
  time timestamptz NOT NULL,
  replaced_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  value double precision NOT NULL,
  unit smallint NOT NULL,
  flags smallint NOT NULL,
  PRIMARY KEY (station_id, pollutant, averaging_period, time, replaced_at)
);

-- The memory: one row a series and day of UTC, with the value of each of its hours and the figures of the day, in the
-- pollutant's usual unit. It is kept in the transaction that stores readings, and outlives them. `hours` is 24 times the
-- value (float8, NaN for none), the microseconds into the hour of the reading that gave it (uint4) and its flags (int2, with one beside those of readings),
-- big-endian; airquality.blocks reads it. A row is updated up to 24 times on its day: room in the page keeps its place.
CREATE TABLE airquality.days (
  day date NOT NULL,
  station_id int NOT NULL,
  pollutant smallint NOT NULL,
  averaging_period smallint NOT NULL,
  hour_count smallint NOT NULL,
  flagged_count smallint NOT NULL,
  mean double precision NOT NULL,
  minimum double precision NOT NULL,
  maximum double precision NOT NULL,
  hours bytea NOT NULL,
  PRIMARY KEY (station_id, pollutant, averaging_period, day)
) PARTITION BY RANGE (day);

-- The instruments of a station that has several. Their numbers are drawn with those of the stations, since a sensor's
-- readings are kept under its own number, beside those of its station.
CREATE TABLE airquality.sensors (
  id int PRIMARY KEY DEFAULT nextval('airquality.stations_id_seq'),
  tenant_id text NOT NULL,
  station int NOT NULL REFERENCES airquality.stations (id),
  sensor_id text NOT NULL,
  place smallint NOT NULL,
  model text NOT NULL,
  low_cost boolean NOT NULL,
  correction smallint NOT NULL,
  pollutants smallint[] NOT NULL,
  -- Those of its pollutants that no sensor before it measures: for these it speaks for the station.
  speaks_for smallint[] NOT NULL,
  UNIQUE (station, sensor_id)
);
ALTER TABLE airquality.sensors ENABLE ROW LEVEL SECURITY;
CREATE POLICY readable ON airquality.sensors FOR SELECT
  USING (tenant_id = current_setting('geomesh.tenant', true) OR tenant_id = 'public');
CREATE POLICY insertable ON airquality.sensors FOR INSERT
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY changeable ON airquality.sensors FOR UPDATE
  USING (tenant_id = current_setting('geomesh.tenant', true))
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));

-- Sensors have series too.
ALTER TABLE airquality.series DROP CONSTRAINT series_station_id_fkey;

-- Makes the partition for the year of `moment` when it is missing, as ensure_readings_partition does for its month.
CREATE FUNCTION airquality.ensure_days_partition(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  year date := date_trunc('year', moment AT TIME ZONE 'UTC');
  partition text := 'days_' || to_char(year, 'YYYY');
BEGIN
  IF year NOT BETWEEN '1980-01-01' AND now() + interval '1 day' THEN
    RAISE EXCEPTION 'no days are kept of %', year USING ERRCODE = 'check_violation';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('airquality.ensure_days_partition'));
  IF to_regclass('airquality.' || partition) IS NOT NULL THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE airquality.%I (LIKE airquality.days INCLUDING ALL) WITH (fillfactor = 70)', partition);
  EXECUTE format('ALTER TABLE airquality.days ATTACH PARTITION airquality.%I FOR VALUES FROM (%L) TO (%L)',
                 partition, year, (year + interval '1 year')::date);
END
$$;
REVOKE EXECUTE ON FUNCTION airquality.ensure_days_partition(timestamptz) FROM PUBLIC;

-- Drops the partitions of readings that end at or before one moment, and those of days that end at or before another,
-- and returns their names. A partition goes whole, so that what is kept is kept to the end of its month or year.
CREATE FUNCTION airquality.drop_partitions(readings_before timestamptz, days_before timestamptz) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  partition text;
  dropped text[] := '{}';
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('airquality.drop_partitions'));
  FOR partition IN
    SELECT child.relname
    FROM pg_inherits
    JOIN pg_class AS child ON child.oid = pg_inherits.inhrelid
    WHERE (pg_inherits.inhparent = 'airquality.readings'::regclass
           AND child.relname < 'readings_' || to_char(readings_before AT TIME ZONE 'UTC', 'YYYY_MM'))
       OR (pg_inherits.inhparent = 'airquality.days'::regclass
           AND child.relname < 'days_' || to_char(days_before AT TIME ZONE 'UTC', 'YYYY'))
    ORDER BY child.relname
  LOOP
    EXECUTE format('DROP TABLE airquality.%I', partition);
    dropped := dropped || partition;
  END LOOP;
  RETURN dropped;
END
$$;
REVOKE EXECUTE ON FUNCTION airquality.drop_partitions(timestamptz, timestamptz) FROM PUBLIC, geomesh_airquality;

-- migrate:down

DROP FUNCTION airquality.drop_partitions(timestamptz, timestamptz);
DROP FUNCTION airquality.ensure_days_partition(timestamptz);
DELETE FROM airquality.readings WHERE station_id IN (SELECT id FROM airquality.sensors);
DELETE FROM airquality.series WHERE station_id IN (SELECT id FROM airquality.sensors);
ALTER TABLE airquality.series ADD FOREIGN KEY (station_id) REFERENCES airquality.stations (id);
DROP TABLE airquality.sensors;
DROP TABLE airquality.days;
DROP TABLE airquality.corrections;
ALTER TABLE airquality.readings DROP COLUMN flags;
