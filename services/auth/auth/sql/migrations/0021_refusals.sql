-- migrate:up

-- Which refusals the audit log has, so that one that is read twice is entered once.
CREATE TABLE auth.entered_refusals (
  refusal_id uuid PRIMARY KEY,
  entered_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX entered_refusals_entered_at ON auth.entered_refusals (entered_at);
GRANT INSERT, DELETE ON auth.entered_refusals TO geomesh_auth;
REVOKE UPDATE ON auth.entered_refusals FROM geomesh_auth;

-- migrate:down

DROP TABLE auth.entered_refusals;
