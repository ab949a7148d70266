-- migrate:up

-- The names of entities, so that positions carry 8 bytes for theirs instead of some 23 for tenant and entity, in the
-- table and again in its index.
CREATE TABLE trajectory.entities (
  entity_key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL,
  entity_id text COLLATE "C" NOT NULL CHECK (entity_id ~ '^[A-Za-z0-9][A-Za-z0-9._~@-]{0,127}$'),
  UNIQUE (tenant_id, entity_id)
);

ALTER TABLE trajectory.entities ENABLE ROW LEVEL SECURITY;
-- The sub-select is evaluated once a query, the bare function once a row. Reading and writing are two policies, because
-- in one the sight of public rows would also be the right to delete them.
CREATE POLICY readable ON trajectory.entities FOR SELECT
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)) OR tenant_id = 'public');
CREATE POLICY writable ON trajectory.entities FOR INSERT
  WITH CHECK (tenant_id = (SELECT current_setting('geomesh.tenant', true)));

-- Append-only. A partition a month, because retention counts in years and an unbounded query looks into every partition:
-- over two years that took 4 ms, with a partition a day 23 ms, and planning it the first time 218.
-- entity_key stands for tenant and entity, so that the primary key is the natural key. It has no foreign key, which
-- makes a row cost 1.3 times as much: only statements that have the key from entities in the same transaction write
-- here. tenant_id is repeated for row-level security alone.
CREATE TABLE trajectory.positions (
  entity_key bigint NOT NULL,
  time timestamptz NOT NULL,
  lat double precision NOT NULL CHECK (lat BETWEEN -90 AND 90),
  lng double precision NOT NULL CHECK (lng BETWEEN -180 AND 180),
  -- H3 cell at resolution 9. The index for searching by it comes with the first query that does.
  cell bigint NOT NULL,
  altitude real,
  accuracy real,
  speed real,
  bearing real,
  tenant_id text COLLATE "C" NOT NULL,
  attributes jsonb,
  PRIMARY KEY (entity_key, time)
) PARTITION BY RANGE (time);

ALTER TABLE trajectory.positions ENABLE ROW LEVEL SECURITY;
CREATE POLICY readable ON trajectory.positions FOR SELECT
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)) OR tenant_id = 'public');
CREATE POLICY writable ON trajectory.positions FOR INSERT
  WITH CHECK (tenant_id = (SELECT current_setting('geomesh.tenant', true)));

-- What python -m trajectory.load has loaded, and how far it came.
CREATE TABLE trajectory.loads (
  sha256 text PRIMARY KEY,
  source text NOT NULL,
  rows_done bigint NOT NULL,
  finished_at timestamptz
);

-- The service adds and reads; only the owner's loader keeps its book.
REVOKE UPDATE, DELETE ON trajectory.entities, trajectory.positions FROM geomesh_trajectory;
REVOKE ALL ON trajectory.loads FROM geomesh_trajectory;

-- Makes the partitions that hold `months` (first days of months, UTC) where they are missing. All times before 2000
-- share one, so that nobody can make more than twelve a year by sending old times.
CREATE FUNCTION trajectory.ensure_partitions(months date[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  month date;
  name text;
  bounds text;
BEGIN
  FOR month IN SELECT DISTINCT greatest(date_trunc('month', each)::date, date '1999-12-01') FROM unnest(months) AS each
  LOOP
    name := CASE WHEN month < '2000-01-01' THEN 'positions_before_2000'
            ELSE 'positions_' || to_char(month, 'YYYY_MM') END;
    CONTINUE WHEN to_regclass(format('trajectory.%I', name)) IS NOT NULL;
    -- One at a time, reading and writing go on. An advisory lock would not do: after it the session would still believe
    -- its catalogue cache that the partition is missing.
    LOCK TABLE trajectory.positions IN SHARE UPDATE EXCLUSIVE MODE;
    CONTINUE WHEN to_regclass(format('trajectory.%I', name)) IS NOT NULL;
    bounds := CASE WHEN month < '2000-01-01' THEN 'FROM (MINVALUE) TO (''2000-01-01 00:00+00'')'
              ELSE format('FROM (''%s 00:00+00'') TO (''%s 00:00+00'')', month, (month + interval '1 month')::date) END;
    -- CREATE … PARTITION OF would lock out every reader; ATTACH does not, and an empty table has nothing to check.
    EXECUTE format('CREATE TABLE trajectory.%I (LIKE trajectory.positions INCLUDING ALL)', name);
    -- With no policy of its own nobody but the owner reads it past the policy of the parent.
    EXECUTE format('ALTER TABLE trajectory.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE trajectory.positions ATTACH PARTITION trajectory.%I FOR VALUES %s', name, bounds);
  END LOOP;
END
$$;
REVOKE EXECUTE ON FUNCTION trajectory.ensure_partitions(date[]) FROM PUBLIC;

-- migrate:down

DROP FUNCTION trajectory.ensure_partitions(date[]);
DROP TABLE trajectory.loads;
DROP TABLE trajectory.positions;
DROP TABLE trajectory.entities;
