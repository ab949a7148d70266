-- migrate:up

-- A place of the gazetteer. `id` is its rank by importance (1 is the most important), so that an index on (…, id) hands
-- out the most important places first; it changes with every load and never leaves the service.
CREATE TABLE geocoder.places (
  id integer NOT NULL,
  place_id text NOT NULL,
  layer smallint NOT NULL,
  feature_class text NOT NULL,
  name text NOT NULL,
  country_code text NOT NULL,
  admin1_code text NOT NULL,
  admin2_code text NOT NULL,
  admin2_name text NOT NULL,
  timezone text NOT NULL,
  population bigint,
  importance real NOT NULL,
  lat double precision NOT NULL,
  lng double precision NOT NULL,
  iso_code text NOT NULL,
  alternate_names text[] NOT NULL,
  location public.geography(Point, 4326) NOT NULL
    GENERATED ALWAYS AS ((public.ST_SetSRID(public.ST_MakePoint(lng, lat), 4326))::public.geography) STORED
);
COMMENT ON TABLE geocoder.places IS 'Places, replaced as a whole by python -m geocoder.load, which also builds the indexes';
COMMENT ON COLUMN geocoder.places.layer IS 'The number of the Layer in the proto';
COMMENT ON COLUMN geocoder.places.importance IS '0 to 1';

-- A name by which a place is found. `kind`: 1 its main name, 2 another, 3 spelled out (ü as ue), 4 unlike all others, 9 a
-- code. What most queries filter by stands here again, so that they need not look at the places they pass over.
CREATE TABLE geocoder.names (
  place integer NOT NULL,
  kind smallint NOT NULL,
  layer smallint NOT NULL,
  area text NOT NULL,
  key text COLLATE "C" NOT NULL,
  name text NOT NULL
);
COMMENT ON COLUMN geocoder.names.area IS 'Country and region of the place: US.OR, or US where it lies in no region';
COMMENT ON COLUMN geocoder.names.key IS 'What geocoder.normalize makes of the name';

-- The name to show to readers of a language.
CREATE TABLE geocoder.localized_names (
  place integer NOT NULL,
  language text NOT NULL,
  name text NOT NULL
);
COMMENT ON COLUMN geocoder.localized_names.language IS 'BCP 47 in lower case, such as zh-hant';

-- Countries cut into small pieces, so that a point is held against few vertices. Each piece is land or coastal water.
CREATE TABLE geocoder.borders (
  country_code text NOT NULL,
  is_land boolean NOT NULL,
  area public.geometry(Polygon, 4326) NOT NULL
);

-- What the loader has done, so that it can go on or stop at once. `version` names the sources and the loader.
CREATE TABLE geocoder.load_steps (
  version text NOT NULL,
  step text NOT NULL,
  row_count bigint NOT NULL,
  finished_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (version, step)
);

-- migrate:down

DROP TABLE geocoder.load_steps;
DROP TABLE geocoder.borders;
DROP TABLE geocoder.localized_names;
DROP TABLE geocoder.names;
DROP TABLE geocoder.places;
