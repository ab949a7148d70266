-- name: find_account
-- Returns the account with an email address ($1, in small letters).
SELECT account_id, tenant_id, roles, plan, password_hash, disabled_at IS NULL AS is_active
FROM auth.accounts
WHERE email = $1::text;

-- name: begin_session
-- Begins a session ($1) of an account ($2) whose only good token ($3, its hash) lives for a while ($4), and forgets the
-- account's sessions that nobody can go on with.
WITH forgotten AS (
  DELETE FROM auth.sessions
  WHERE account_id = $2::uuid AND expires_at <= now()
)
INSERT INTO auth.sessions (session_id, account_id, token_digest, expires_at)
VALUES ($1::uuid, $2::uuid, $3::bytea, now() + $4::interval);

-- name: rotate_token
-- Puts a successor (the first of $2, a hash) in the place of a good token ($1, a hash); the successor lives for a while
-- ($3). If the good token is one of the successors already and has been for less than the grace ($4), a client repeats
-- a call whose answer it lost: nothing changes. Calls that use one token at one time wait here for each other's row, and
-- Postgres then looks again at the row as the first of them left it, so that the others find themselves repeating.
WITH rotated AS (
  UPDATE auth.sessions AS s
  SET
    token_digest = CASE WHEN s.token_digest = $1::bytea THEN ($2::bytea[])[1] ELSE s.token_digest END,
    expires_at = CASE WHEN s.token_digest = $1::bytea THEN now() + $3::interval ELSE s.expires_at END,
    rotated_at = CASE WHEN s.token_digest = $1::bytea THEN now() ELSE s.rotated_at END
  FROM auth.accounts AS a
  WHERE s.token_digest = ANY ($1::bytea || $2::bytea[])
    AND (s.token_digest = $1::bytea OR s.rotated_at > now() - $4::interval)
    AND s.expires_at > now()
    AND s.ended_at IS NULL
    AND a.account_id = s.account_id
    AND a.disabled_at IS NULL
  RETURNING s.session_id, s.token_digest, s.expires_at, a.account_id, a.tenant_id, a.roles, a.plan
), spent AS (
  INSERT INTO auth.spent_tokens (token_digest, session_id, spent_at)
  SELECT $1::bytea, rotated.session_id, now()
  FROM rotated
  ON CONFLICT (token_digest) DO NOTHING
), forgotten AS (
  -- A token that would have expired by now is refused for that alone.
  DELETE FROM auth.spent_tokens AS t
  USING rotated
  WHERE t.session_id = rotated.session_id AND t.spent_at <= now() - $3::interval
)
SELECT
  account_id, tenant_id, roles, plan, token_digest,
  greatest(0, floor(extract(epoch FROM expires_at - now())))::int4 AS refresh_seconds
FROM rotated;

-- name: end_reused
-- Ends the session that a token ($1, a hash) was spent in longer ago than the grace ($2), and returns its id.
UPDATE auth.sessions AS s
SET ended_at = now()
FROM auth.spent_tokens AS t
WHERE t.token_digest = $1::bytea
  AND t.spent_at <= now() - $2::interval
  AND s.session_id = t.session_id
  AND s.ended_at IS NULL
RETURNING s.session_id;

-- name: find_published_keys
-- Returns the keys that tokens may be signed with, those that sign already first, the newest of them before older ones.
SELECT key_id, x, y, sealed, signs_from <= now() AS signs
FROM auth.signing_keys
WHERE published_until IS NULL OR published_until > now()
ORDER BY signs_from <= now() DESC, signs_from DESC, key_id;

-- name: lock_setup
-- Keeps two set-ups apart until the transaction ends. The number is this lock's name.
SELECT pg_advisory_xact_lock(7346211906);

-- name: add_key
-- Adds a key ($1 id, $2 and $3 its public point, $4 its sealed private half) that signs from now on.
INSERT INTO auth.signing_keys (key_id, x, y, sealed, signs_from)
VALUES ($1::text, $2::text, $3::text, $4::bytea, now());

-- name: seal_key
-- Replaces the sealed private half ($2) of a key ($1).
UPDATE auth.signing_keys
SET sealed = $2::bytea
WHERE key_id = $1::text;

-- name: add_account
-- Adds an account ($1 email address, $2 password hash, $3 tenant, $4 roles, $5 plan) and returns its id, or nothing
-- when there is one with this address.
INSERT INTO auth.accounts (email, password_hash, tenant_id, roles, plan)
VALUES ($1::text, $2::text, $3::text, $4::text[], $5::text)
ON CONFLICT (email) DO NOTHING
RETURNING account_id;

-- name: append_audit_event
-- Appends to a tenant's ($1) chain: the event ($2), its outcome ($3), the account that it happened to ($4), who did it
-- ($5), from which address ($6), in which request ($7), and more ($8).
SELECT auth.append_audit_event(
  $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text, $8::json
);
