-- migrate:up

-- What a tenant wants to be told of. `definition` is the rule as its owner gave it, `state` where its evaluation
-- stands, which changes with the readings; the other columns are what a reading finds it by.
CREATE TABLE airquality.alert_rules (
  tenant_id text NOT NULL,
  rule_id uuid NOT NULL DEFAULT gen_random_uuid(),
  definition jsonb NOT NULL,
  state jsonb NOT NULL DEFAULT '{}',
  paused boolean NOT NULL,
  pollutant smallint NOT NULL, -- 0 for every one
  station_tenant text,
  station_id text,
  center public.geography(Point, 4326),
  radius_meters double precision,
  area public.geometry(Geometry, 4326), -- around a point the box that holds the circle
  webhook_secret bytea, -- sealed
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, rule_id),
  CHECK ((station_id IS NULL) <> (area IS NULL)),
  CHECK ((center IS NULL) = (radius_meters IS NULL))
);
CREATE INDEX alert_rules_area ON airquality.alert_rules USING gist (area);
CREATE INDEX alert_rules_station ON airquality.alert_rules (station_id, station_tenant) WHERE station_id IS NOT NULL;

-- What was told; the id is made of rule, event, kind and time. Rows are written under the lock of alert_progress, so that numbers become visible in their order.
CREATE TABLE airquality.alerts (
  tenant_id text NOT NULL,
  alert_id uuid NOT NULL,
  number bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
  rule_id uuid NOT NULL,
  event_id bigint NOT NULL,
  kind smallint NOT NULL,
  severity smallint NOT NULL,
  body jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, alert_id)
);
CREATE UNIQUE INDEX alerts_number ON airquality.alerts (tenant_id, number);

-- What is to be posted, or was: state 1 waits, 2 was taken, 3 is dead.
CREATE TABLE airquality.alert_deliveries (
  tenant_id text NOT NULL,
  alert_id uuid NOT NULL,
  rule_id uuid NOT NULL,
  state smallint NOT NULL DEFAULT 1 CHECK (state BETWEEN 1 AND 3),
  attempts int NOT NULL DEFAULT 0,
  next_attempt_at timestamptz NOT NULL,
  claim uuid,
  claimed_until timestamptz,
  problem text NOT NULL DEFAULT '',
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, alert_id),
  FOREIGN KEY (tenant_id, alert_id) REFERENCES airquality.alerts ON DELETE CASCADE,
  FOREIGN KEY (tenant_id, rule_id) REFERENCES airquality.alert_rules ON DELETE CASCADE
);
CREATE INDEX alert_deliveries_due ON airquality.alert_deliveries (next_attempt_at) WHERE state = 1;
CREATE INDEX alert_deliveries_rule ON airquality.alert_deliveries (tenant_id, rule_id);

-- Nobody's alerts are public: the operator's neither.
ALTER TABLE airquality.alert_rules ENABLE ROW LEVEL SECURITY;
ALTER TABLE airquality.alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE airquality.alert_deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON airquality.alert_rules USING (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY own ON airquality.alerts USING (tenant_id = current_setting('geomesh.tenant', true));
CREATE POLICY own ON airquality.alert_deliveries USING (tenant_id = current_setting('geomesh.tenant', true));

-- Up to which event readings are evaluated. Its one row is the lock that lets one replica evaluate at a time.
CREATE TABLE airquality.alert_progress (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  event_id bigint NOT NULL
);
INSERT INTO airquality.alert_progress (event_id) VALUES (0);

-- Which rules of which tenants look at readings: those of their own tenant's stations and of the public ones. `place`
-- is the reading's in the arrays, from 1. It says no more of a rule than that there is one, and steps over row-level
-- security for that: each tenant's rules are then read and changed as that tenant.
CREATE FUNCTION airquality.find_alert_matches(
  tenants text[], stations text[], lats double precision[], lngs double precision[], pollutants smallint[]
) RETURNS TABLE (tenant_id text, rule_id uuid, place bigint, distance_meters double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH given AS MATERIALIZED (
    SELECT g.tenant, g.station, g.pollutant, g.place,
           public.ST_SetSRID(public.ST_MakePoint(g.lng, g.lat), 4326) AS point
    FROM unnest(tenants, stations, lats, lngs, pollutants) WITH ORDINALITY
      AS g (tenant, station, lat, lng, pollutant, place)
  )
  SELECT r.tenant_id, r.rule_id, given.place, 0.0::float8
  FROM given
  JOIN airquality.alert_rules AS r ON r.station_id = given.station AND r.station_tenant = given.tenant
  WHERE NOT r.paused AND r.pollutant IN (0, given.pollutant) AND given.tenant IN (r.tenant_id, 'public')
  UNION ALL
  SELECT r.tenant_id, r.rule_id, given.place,
         CASE WHEN r.center IS NULL THEN 0.0 ELSE public.ST_Distance(r.center, given.point::public.geography) END
  FROM given
  JOIN airquality.alert_rules AS r ON r.area OPERATOR(public.&&) given.point
  WHERE NOT r.paused AND r.pollutant IN (0, given.pollutant) AND given.tenant IN (r.tenant_id, 'public')
    AND CASE
      WHEN r.center IS NULL THEN public.ST_Covers(r.area, given.point)
      ELSE public.ST_DWithin(r.center, given.point::public.geography, r.radius_meters)
    END
$$;
REVOKE EXECUTE ON FUNCTION airquality.find_alert_matches(
  text[], text[], double precision[], double precision[], smallint[]
) FROM PUBLIC;

-- Takes deliveries that are due, for a while, the longest waiting first: of one rule at most two and of one tenant at
-- most `per_tenant` at a time, so that an endpoint that hangs keeps nobody else's waiting.
CREATE FUNCTION airquality.claim_alert_deliveries(most int, per_tenant int, lease_seconds double precision)
RETURNS TABLE (tenant_id text, alert_id uuid, rule_id uuid, claim uuid, attempts int, url text, webhook_secret bytea,
               body jsonb)
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH waiting AS (
    SELECT d.tenant_id, d.alert_id, d.rule_id, d.next_attempt_at, coalesce(d.claimed_until > now(), false) AS busy
    FROM airquality.alert_deliveries AS d
    WHERE d.state = 1 AND d.next_attempt_at <= now()
  ), of_rule AS (
    SELECT *, row_number() OVER (PARTITION BY w.tenant_id, w.rule_id ORDER BY busy DESC, next_attempt_at) AS place
    FROM waiting AS w
  ), of_tenant AS (
    SELECT *, row_number() OVER (PARTITION BY o.tenant_id ORDER BY busy DESC, next_attempt_at) AS tenant_place
    FROM of_rule AS o
    WHERE place <= 2
  ), chosen AS (
    SELECT d.tenant_id, d.alert_id
    FROM of_tenant
    JOIN airquality.alert_deliveries AS d USING (tenant_id, alert_id)
    WHERE NOT busy AND tenant_place <= per_tenant
      AND d.state = 1 AND (d.claimed_until IS NULL OR d.claimed_until <= now())
    ORDER BY d.next_attempt_at
    LIMIT most
    FOR UPDATE OF d SKIP LOCKED
  )
  UPDATE airquality.alert_deliveries AS d
  SET claim = gen_random_uuid(), claimed_until = now() + interval '1 second' * lease_seconds,
      attempts = d.attempts + 1, updated_at = now()
  FROM chosen, airquality.alert_rules AS r, airquality.alerts AS a
  WHERE (d.tenant_id, d.alert_id) = (chosen.tenant_id, chosen.alert_id)
    AND (r.tenant_id, r.rule_id) = (d.tenant_id, d.rule_id)
    AND (a.tenant_id, a.alert_id) = (d.tenant_id, d.alert_id)
  RETURNING d.tenant_id, d.alert_id, d.rule_id, d.claim, d.attempts,
            coalesce(r.definition ->> 'webhook_url', ''), r.webhook_secret, a.body
$$;
REVOKE EXECUTE ON FUNCTION airquality.claim_alert_deliveries(int, int, double precision) FROM PUBLIC;

-- migrate:down

DROP FUNCTION airquality.claim_alert_deliveries(int, int, double precision);
DROP FUNCTION airquality.find_alert_matches(text[], text[], double precision[], double precision[], smallint[]);
DROP TABLE airquality.alert_progress;
DROP TABLE airquality.alert_deliveries;
DROP TABLE airquality.alerts;
DROP TABLE airquality.alert_rules;
