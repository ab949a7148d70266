-- migrate:up

-- What was stored, in the order of the commits, for whoever follows: written in the transaction that stores readings, so
-- that there is an event if and only if there are the readings. Redis holds a copy that is faster to follow. Like
-- readings it is under no row-level security: only the service itself reads it, and shows each caller what is theirs.
CREATE TABLE airquality.outbox (
  position bigint PRIMARY KEY,
  stored_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  payload bytea NOT NULL
);
-- Compressing it was more work than writing it.
ALTER TABLE airquality.outbox ALTER COLUMN payload SET STORAGE EXTERNAL;

-- The position of the last event. Whoever stores an event holds this row until the commit, so that positions follow each
-- other without a gap in the order in which they become visible. A sequence promises neither.
CREATE TABLE airquality.last_event (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  position bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO airquality.last_event (position) VALUES (0);

-- What an event says of its stations. A transaction that stores readings knows their numbers alone, which it was given
-- under row-level security, and is bound to no tenant.
CREATE FUNCTION airquality.describe_stations(ids int[])
RETURNS TABLE (id int, tenant_id text, station_id text, provider text, lat double precision, lng double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT stations.id, stations.tenant_id, stations.station_id, stations.provider, stations.lat, stations.lng
  FROM airquality.stations WHERE stations.id = ANY (ids)
$$;
REVOKE EXECUTE ON FUNCTION airquality.describe_stations(int[]) FROM PUBLIC;

-- migrate:down

DROP FUNCTION airquality.describe_stations(int[]);
DROP TABLE airquality.last_event;
DROP TABLE airquality.outbox;
