-- migrate:up

-- The newest position of each entity.
CREATE TABLE spatial_index.entity (
  tenant_id text COLLATE "C" NOT NULL,
  entity_id text COLLATE "C" NOT NULL,
  lat double precision NOT NULL,
  lng double precision NOT NULL,
  -- The same place in metres from the centre of the Earth, see geocentric.py. A cube and not a geography, because
  -- nearest-neighbour search by it was measured three times as fast, and geography's goes by a sphere anyway.
  geocentric public.cube NOT NULL,
  time timestamptz NOT NULL,
  altitude real,
  accuracy real,
  speed real,
  bearing real,
  type text COLLATE "C" NOT NULL,
  -- NULL is none; a flat object of strings, numbers and booleans.
  attributes jsonb,
  PRIMARY KEY (tenant_id, entity_id)
);

-- The tenant comes first, so that a search never walks through what other tenants have near the same place.
CREATE INDEX entity_geocentric ON spatial_index.entity USING gist (tenant_id, geocentric);

ALTER TABLE spatial_index.entity ENABLE ROW LEVEL SECURITY;

-- One policy a command: what everyone may read nobody else may change, take over or delete.
CREATE POLICY readable ON spatial_index.entity FOR SELECT
  USING (tenant_id = current_setting('geomesh.tenant', true) OR tenant_id = 'public');
CREATE POLICY insertable ON spatial_index.entity FOR INSERT
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY changeable ON spatial_index.entity FOR UPDATE
  USING (tenant_id = current_setting('geomesh.tenant', true))
  WITH CHECK (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY removable ON spatial_index.entity FOR DELETE
  USING (tenant_id = current_setting('geomesh.tenant', true));

-- What python -m spatial_index.load has loaded.
CREATE TABLE spatial_index.load (
  sha256 text PRIMARY KEY,
  source text NOT NULL,
  entity_count int NOT NULL,
  loaded_at timestamptz NOT NULL DEFAULT now()
);

-- Only the owner's loader keeps its book.
REVOKE ALL ON spatial_index.load FROM geomesh_spatial_index;

-- migrate:down

DROP TABLE spatial_index.load;
DROP TABLE spatial_index.entity;
