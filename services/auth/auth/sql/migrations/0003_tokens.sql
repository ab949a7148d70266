-- migrate:up

-- Where a session was begun, so that its owner can tell one from another. Code that is older than these columns leaves
-- them as they are; a session without a tenant belongs to the account's.
ALTER TABLE auth.sessions
  ADD COLUMN tenant_id text COLLATE "C",
  ADD COLUMN address text NOT NULL DEFAULT '' CHECK (length(address) <= 64),
  ADD COLUMN user_agent text NOT NULL DEFAULT '' CHECK (length(user_agent) <= 256);

UPDATE auth.sessions AS s SET tenant_id = a.tenant_id FROM auth.accounts AS a WHERE a.account_id = s.account_id;

-- Tokens that ended before their time, until the last of them has expired by itself.
CREATE TABLE auth.revocations (
  kind text NOT NULL CHECK (kind IN ('token', 'session', 'subject', 'tenant')),
  -- The jti, sid, sub or tenant of the tokens.
  name text COLLATE "C" NOT NULL CHECK (length(name) BETWEEN 1 AND 512),
  -- Tokens issued earlier are refused; infinity: all of them, and nothing new is issued.
  issued_before timestamptz NOT NULL,
  until timestamptz NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (kind, name)
);

CREATE INDEX revocations_changed_at ON auth.revocations (changed_at);

-- What stands in for a password where a program acts for a person.
CREATE TABLE auth.api_keys (
  api_key_id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES auth.accounts ON DELETE CASCADE,
  tenant_id text COLLATE "C" NOT NULL,
  display_name text NOT NULL CHECK (length(display_name) <= 100),
  -- SHA-256 needs no salt, since nobody can try out 32 random bytes.
  key_digest bytea NOT NULL UNIQUE CHECK (length(key_digest) = 32),
  -- The last characters of the key, by which its owner knows it.
  hint text NOT NULL CHECK (length(hint) = 4),
  scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  last_used_at timestamptz,
  revoked_at timestamptz
);

CREATE INDEX api_keys_account_id ON auth.api_keys (account_id, created_at DESC, api_key_id);

-- Accounts of programs, which act for nobody but their tenant.
CREATE TABLE auth.service_accounts (
  service_account_id uuid PRIMARY KEY,
  tenant_id text COLLATE "C" NOT NULL CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  display_name text NOT NULL CHECK (length(display_name) <= 100),
  secret_digest bytea NOT NULL CHECK (length(secret_digest) = 32),
  roles text[] NOT NULL CHECK (cardinality(roles) > 0),
  plan text NOT NULL CHECK (plan IN ('public', 'user', 'premium', 'enterprise')),
  -- Empty: all that the roles allow.
  scopes text[] NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  last_used_at timestamptz
);

CREATE INDEX service_accounts_tenant_id ON auth.service_accounts (tenant_id, created_at DESC, service_account_id);

-- A connection that is bound to a tenant sees and changes that tenant alone, whatever the statement forgets. Refreshing
-- and exchanging are bound to none, since nobody has a tenant before.
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.service_accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tenant ON auth.sessions
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
CREATE POLICY own_tenant ON auth.api_keys
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
CREATE POLICY own_tenant ON auth.service_accounts
  USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
    OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');

-- migrate:down

DROP TABLE auth.service_accounts, auth.api_keys, auth.revocations;
DROP POLICY own_tenant ON auth.sessions;
ALTER TABLE auth.sessions DISABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions DROP COLUMN tenant_id, DROP COLUMN address, DROP COLUMN user_agent;
