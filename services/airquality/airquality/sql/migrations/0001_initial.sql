-- migrate:up

-- Where air is measured. Small, so the GiST index on it costs ingest nothing.
CREATE TABLE airquality.stations (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text NOT NULL,
  station_id text NOT NULL,
  provider text NOT NULL,
  name text NOT NULL,
  agency text NOT NULL,
  lat double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
  lng double precision NOT NULL CHECK (lng BETWEEN -180 AND 180),
  location public.geography(Point, 4326) NOT NULL
    GENERATED ALWAYS AS (public.ST_SetSRID(public.ST_MakePoint(lng, lat), 4326)::public.geography) STORED,
  UNIQUE (tenant_id, station_id)
);
CREATE INDEX stations_location ON airquality.stations USING gist (location);
CREATE INDEX stations_lat ON airquality.stations (lat);

ALTER TABLE airquality.stations ENABLE ROW LEVEL SECURITY;
-- One policy a command: what everyone may read nobody else may change, take over or delete.
CREATE POLICY readable ON airquality.stations FOR SELECT
  USING (tenant_id = current_setting('geomesh.tenant', true) OR tenant_id = 'public');
CREATE POLICY insertable ON airquality.stations FOR INSERT
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY changeable ON airquality.stations FOR UPDATE
  USING (tenant_id = current_setting('geomesh.tenant', true))
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY removable ON airquality.stations FOR DELETE
  USING (tenant_id = current_setting('geomesh.tenant', true));

-- Which pollutants and averaging periods a station has ever reported. A row is written once, so that ingest does not
-- update one row per series and hour; the newest reading of a series is one step into the key of readings.
CREATE TABLE airquality.series (
  station_id int NOT NULL REFERENCES airquality.stations (id),
  pollutant smallint NOT NULL,
  averaging_period smallint NOT NULL,
  PRIMARY KEY (station_id, pollutant, averaging_period)
);

-- What stations reported, by month. The codes are those of the enums in the proto. Nothing here names a tenant: only a
-- row of stations, which is under row-level security, gives the number that readings are found by. For the same reason
-- there is no foreign key, whose check on every row would cost more than the rest of the insert.
CREATE TABLE airquality.readings (
  time timestamptz NOT NULL,
  value double precision NOT NULL,
  station_id int NOT NULL,
  pollutant smallint NOT NULL,
  averaging_period smallint NOT NULL,
  unit smallint NOT NULL,
  PRIMARY KEY (station_id, pollutant, averaging_period, time)
) PARTITION BY RANGE (time);

-- Makes the partition for the month of `moment` when it is missing. Attaching takes a weaker lock than creating it in
-- place, so that readers and writers of other months do not wait.
CREATE FUNCTION airquality.ensure_readings_partition(moment timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  month date := date_trunc('month', moment AT TIME ZONE 'UTC');
  partition text := 'readings_' || to_char(month, 'YYYY_MM');
BEGIN
  IF month NOT BETWEEN '1980-01-01' AND now() + interval '1 day' THEN
    RAISE EXCEPTION 'no readings are kept of %', month USING ERRCODE = 'check_violation';
  END IF;
  PERFORM pg_advisory_xact_lock(hashtext('airquality.ensure_readings_partition'));
  IF to_regclass('airquality.' || partition) IS NOT NULL THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE airquality.%I (LIKE airquality.readings INCLUDING ALL)', partition);
  EXECUTE format('ALTER TABLE airquality.readings ATTACH PARTITION airquality.%I FOR VALUES FROM (%L) TO (%L)',
                 partition, month::timestamp AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
END
$$;
REVOKE EXECUTE ON FUNCTION airquality.ensure_readings_partition(timestamptz) FROM PUBLIC;

-- What the loader has loaded, part by part, so that it goes on where it was stopped.
CREATE TABLE airquality.loads (
  source text NOT NULL,
  part text NOT NULL,
  digest text NOT NULL,
  row_count bigint NOT NULL,
  loaded_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (source, part)
);

-- migrate:down

DROP TABLE airquality.loads;
DROP FUNCTION airquality.ensure_readings_partition(timestamptz);
DROP TABLE airquality.readings;
DROP TABLE airquality.series;
DROP TABLE airquality.stations;
