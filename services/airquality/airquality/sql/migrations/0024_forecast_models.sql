-- migrate:up

-- The trained models of forecasts. Of each pollutant the one that was activated last serves. The loader's role writes
-- them; the service reads.
CREATE TABLE airquality.forecast_models (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  pollutant smallint NOT NULL,
  version text NOT NULL UNIQUE,
  trained_from timestamptz NOT NULL,
  trained_until timestamptz NOT NULL,
  held_back_from timestamptz NOT NULL,
  station_count int NOT NULL,
  artefact bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  activated_at timestamptz
);
-- Compressed already.
ALTER TABLE airquality.forecast_models ALTER COLUMN artefact SET STORAGE EXTERNAL;
CREATE INDEX forecast_models_active ON airquality.forecast_models (pollutant, activated_at DESC)
  WHERE activated_at IS NOT NULL;

-- How good a model was on the time that was held back, by hours ahead, in the pollutant's usual unit.
CREATE TABLE airquality.forecast_skill (
  model_id int NOT NULL REFERENCES airquality.forecast_models (id) ON DELETE CASCADE,
  horizon smallint NOT NULL CHECK (horizon BETWEEN 1 AND 96),
  forecast_count int NOT NULL,
  mae double precision NOT NULL,
  bias double precision NOT NULL,
  coverage_80 double precision,
  coverage_95 double precision,
  persistence_mae double precision NOT NULL,
  daily_persistence_mae double precision NOT NULL,
  climatology_mae double precision NOT NULL,
  PRIMARY KEY (model_id, horizon)
);

-- migrate:down

DROP TABLE airquality.forecast_skill;
DROP TABLE airquality.forecast_models;
