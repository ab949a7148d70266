-- migrate:up

-- Whose accounts and data belong together.
CREATE TABLE auth.tenants (
  tenant_id text COLLATE "C" PRIMARY KEY CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  display_name text NOT NULL CHECK (length(display_name) <= 100),
  -- The plan that the tenant's accounts are on.
  plan text NOT NULL CHECK (plan IN ('public', 'user', 'premium', 'enterprise')),
  -- Limits of this tenant's own, where they differ from those of the plan.
  requests_per_hour int CHECK (requests_per_hour > 0),
  streams_per_minute int CHECK (streams_per_minute > 0),
  batch_calls_per_hour int CHECK (batch_calls_per_hour > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Since when nobody of the tenant may sign in or refresh.
  suspended_at timestamptz
);

INSERT INTO auth.tenants (tenant_id, display_name, plan) VALUES ('public', 'public', 'enterprise');
INSERT INTO auth.tenants (tenant_id, display_name, plan)
SELECT DISTINCT ON (tenant_id) tenant_id, tenant_id, plan
FROM auth.accounts
WHERE tenant_id <> 'public'
ORDER BY tenant_id, array_position(ARRAY['enterprise', 'premium', 'user', 'public'], plan);

-- A tenant of an account that old code makes while new code already runs.
CREATE FUNCTION auth.ensure_tenant() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  INSERT INTO auth.tenants (tenant_id, display_name, plan) VALUES (NEW.tenant_id, NEW.tenant_id, NEW.plan)
  ON CONFLICT (tenant_id) DO NOTHING;
  RETURN NEW;
END
$$;
CREATE TRIGGER ensure_tenant BEFORE INSERT ON auth.accounts FOR EACH ROW EXECUTE FUNCTION auth.ensure_tenant();

ALTER TABLE auth.accounts
  ADD CONSTRAINT accounts_tenant FOREIGN KEY (tenant_id) REFERENCES auth.tenants,
  -- TOTP (RFC 6238): the shared secret, encrypted, and since when it is asked for.
  ADD COLUMN totp_sealed bytea,
  ADD COLUMN totp_confirmed_at timestamptz,
  -- The last time step whose code was used: none is good twice.
  ADD COLUMN totp_last_step bigint NOT NULL DEFAULT 0;

CREATE INDEX accounts_tenant_email ON auth.accounts (tenant_id, email);

-- Each stands in for a TOTP code once. SHA-256 needs no salt, since nobody can try out 80 random bits.
CREATE TABLE auth.recovery_codes (
  account_id uuid NOT NULL REFERENCES auth.accounts ON DELETE CASCADE,
  code_digest bytea NOT NULL CHECK (length(code_digest) = 32),
  PRIMARY KEY (account_id, code_digest)
);

-- What was sent to an address and may be used once: to sign up, to accept an invitation, to set a new password.
CREATE TABLE auth.one_time_tokens (
  token_digest bytea PRIMARY KEY CHECK (length(token_digest) = 32),
  purpose text NOT NULL CHECK (purpose IN ('sign_up', 'password_reset')),
  email text COLLATE "C" NOT NULL CHECK (email = lower(email) AND length(email) <= 254),
  -- Of an invitation: the tenant that invites, and as what. An open sign-up makes a tenant of its own.
  tenant_id text COLLATE "C" REFERENCES auth.tenants ON DELETE CASCADE,
  roles text[],
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  -- A newer token takes the place of an older one.
  UNIQUE (email, purpose)
);

CREATE INDEX one_time_tokens_expires_at ON auth.one_time_tokens (expires_at);

-- What happened, for ever. The events of a tenant are a chain: each hash covers the hash before it.
CREATE TABLE auth.audit_events (
  tenant_id text COLLATE "C" NOT NULL,
  -- 1, 2, 3, … within the tenant.
  sequence bigint NOT NULL CHECK (sequence > 0),
  occurred_at timestamptz NOT NULL,
  event text NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('success', 'refused')),
  -- The account that it happened to, who did it, and from where; empty where nobody knows.
  subject text NOT NULL,
  actor text NOT NULL,
  address text NOT NULL,
  request_id text NOT NULL,
  -- An object of texts and numbers. Not jsonb, which would spell it anew and so change its hash.
  details json NOT NULL,
  previous_hash bytea NOT NULL CHECK (length(previous_hash) = 32),
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (tenant_id, sequence)
);

CREATE INDEX audit_events_occurred_at ON auth.audit_events (tenant_id, occurred_at, sequence);
CREATE INDEX audit_events_subject ON auth.audit_events (tenant_id, subject, occurred_at, sequence) WHERE subject <> '';

-- The end of each chain.
CREATE TABLE auth.audit_heads (
  tenant_id text COLLATE "C" PRIMARY KEY,
  sequence bigint NOT NULL,
  hash bytea NOT NULL CHECK (length(hash) = 32)
);

-- Puts the length before the text, so that no two rows of texts read alike.
CREATE FUNCTION auth.audit_text(value text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog AS $$
  SELECT int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8')
$$;

-- The only way in. It waits for whoever appends to the same chain, until that transaction ends.
CREATE FUNCTION auth.append_audit_event(
  new_tenant_id text, new_event text, new_outcome text, new_subject text, new_actor text, new_address text,
  new_request_id text, new_details json
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  head auth.audit_heads;
  happened timestamptz;
  next_hash bytea;
BEGIN
  INSERT INTO auth.audit_heads AS h (tenant_id, sequence, hash) VALUES (new_tenant_id, 1, decode(repeat('00', 32), 'hex'))
  ON CONFLICT (tenant_id) DO UPDATE SET sequence = h.sequence + 1
  RETURNING * INTO head;
  -- After the wait, so that the order of the chain is the order of the times.
  happened := clock_timestamp();
  next_hash := sha256(
    head.hash || auth.audit_text(new_tenant_id) || int8send(head.sequence)
    || int8send((extract(epoch FROM happened) * 1000000)::bigint)
    || auth.audit_text(new_event) || auth.audit_text(new_outcome) || auth.audit_text(new_subject)
    || auth.audit_text(new_actor) || auth.audit_text(new_address) || auth.audit_text(new_request_id)
    || auth.audit_text(new_details::text)
  );
  INSERT INTO auth.audit_events
    (tenant_id, sequence, occurred_at, event, outcome, subject, actor, address, request_id, details, previous_hash, hash)
  VALUES
    (new_tenant_id, head.sequence, happened, new_event, new_outcome, new_subject, new_actor, new_address,
     new_request_id, new_details, head.hash, next_hash);
  UPDATE auth.audit_heads SET hash = next_hash WHERE tenant_id = new_tenant_id;
END
$$;

-- Not even the owner changes an event by mistake. Who means to must drop this first, and then the chain shows it.
CREATE FUNCTION auth.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON auth.audit_events
  FOR EACH STATEMENT EXECUTE FUNCTION auth.refuse_change();

REVOKE INSERT, UPDATE, DELETE ON auth.audit_events FROM geomesh_auth;
REVOKE INSERT, UPDATE, DELETE ON auth.audit_heads FROM geomesh_auth;
REVOKE EXECUTE ON FUNCTION
  auth.append_audit_event(text, text, text, text, text, text, text, json), auth.ensure_tenant(), auth.refuse_change(),
  auth.audit_text(text)
FROM PUBLIC;
GRANT INSERT, UPDATE, DELETE ON auth.accounts TO geomesh_auth;
REVOKE DELETE ON auth.tenants FROM geomesh_auth;

-- A connection that is bound to a tenant sees and changes that tenant alone, whatever the statement forgets. Signing in is
-- bound to none, since nobody has a tenant before, and neither is a system administrator.
ALTER TABLE auth.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.one_time_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.audit_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.audit_heads ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON auth.tenants
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
CREATE POLICY own_tenant ON auth.accounts
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
CREATE POLICY own_tenant ON auth.one_time_tokens
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
CREATE POLICY own_tenant ON auth.audit_events
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
CREATE POLICY own_tenant ON auth.audit_heads
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');

-- migrate:down

DROP POLICY own_tenant ON auth.accounts;
ALTER TABLE auth.accounts DISABLE ROW LEVEL SECURITY;
DROP TRIGGER ensure_tenant ON auth.accounts;
DROP INDEX auth.accounts_tenant_email;
ALTER TABLE auth.accounts
  DROP CONSTRAINT accounts_tenant, DROP COLUMN totp_sealed, DROP COLUMN totp_confirmed_at, DROP COLUMN totp_last_step;
REVOKE INSERT, UPDATE, DELETE ON auth.accounts FROM geomesh_auth;
DROP TABLE auth.audit_heads, auth.audit_events, auth.one_time_tokens, auth.recovery_codes, auth.tenants;
DROP FUNCTION auth.append_audit_event(text, text, text, text, text, text, text, json), auth.audit_text(text),
  auth.ensure_tenant(), auth.refuse_change();
