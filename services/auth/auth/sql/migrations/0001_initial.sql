-- migrate:up

-- Who may sign in. Not under row-level security: an account is looked up before anybody knows its tenant.
CREATE TABLE auth.accounts (
  account_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  email text COLLATE "C" NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) <= 254),
  -- Argon2id in its own encoding, which names parameters and salt.
  password_hash text NOT NULL,
  tenant_id text COLLATE "C" NOT NULL CHECK (tenant_id ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
  roles text[] NOT NULL CHECK (cardinality(roles) > 0),
  plan text NOT NULL CHECK (plan IN ('public', 'user', 'premium', 'enterprise')),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- Since when the account may not sign in or refresh.
  disabled_at timestamptz
);

-- One row a session. Tokens are stored as SHA-256 hashes: who reads the table can use none of them.
CREATE TABLE auth.sessions (
  session_id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES auth.accounts ON DELETE CASCADE,
  -- The only good token.
  token_digest bytea NOT NULL UNIQUE CHECK (length(token_digest) = 32),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When the good token took the place of another one.
  rotated_at timestamptz,
  expires_at timestamptz NOT NULL,
  -- Since when the session is over before its time.
  ended_at timestamptz
);

CREATE INDEX sessions_account_id ON auth.sessions (account_id);

-- The tokens that a session has used up, by which a copied one is recognized.
CREATE TABLE auth.spent_tokens (
  token_digest bytea PRIMARY KEY CHECK (length(token_digest) = 32),
  session_id uuid NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
  spent_at timestamptz NOT NULL
);

CREATE INDEX spent_tokens_session_id ON auth.spent_tokens (session_id, spent_at);

-- Keys on P-256 for ES256. A key is published as soon as it is here, and signs from signs_from on.
CREATE TABLE auth.signing_keys (
  -- RFC 7638 thumbprint.
  key_id text COLLATE "C" PRIMARY KEY,
  -- The public point, base64url.
  x text NOT NULL,
  y text NOT NULL,
  -- PKCS #8, encrypted under the key-encryption key, which the database never sees.
  sealed bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  signs_from timestamptz NOT NULL,
  -- When the last token that it signed has expired, so that nobody needs it any more.
  published_until timestamptz
);

-- The service signs in and refreshes; accounts and keys are made by whoever sets up.
REVOKE INSERT, UPDATE, DELETE ON auth.accounts, auth.signing_keys FROM geomesh_auth;

-- migrate:down

DROP TABLE auth.signing_keys, auth.spent_tokens, auth.sessions, auth.accounts;
