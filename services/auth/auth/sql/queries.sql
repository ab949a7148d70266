-- name: find_account
-- Returns the account with an email address ($1, in small letters), of whatever tenant.
SELECT account_id, tenant_id, roles, plan, password_hash, is_active, totp_sealed
FROM auth.find_account($1::text);

-- name: find_tenant_of_account
-- Returns the tenant of an account ($1).
SELECT auth.tenant_of_account($1::uuid);

-- name: enter_tenant
-- Binds the transaction to a tenant ($1) until it ends.
SELECT set_config('geomesh.tenant', $1::text, true);

-- name: begin_session
-- Begins a session ($1) of an account ($2) whose only good token ($3, its hash) lives for a while ($4), from an address
-- ($5) by a client ($6), and forgets the account's sessions that nobody can go on with.
WITH forgotten AS (
  DELETE FROM auth.sessions
  WHERE account_id = $2::uuid AND expires_at <= now()
)
INSERT INTO auth.sessions (session_id, account_id, tenant_id, token_digest, expires_at, address, user_agent)
SELECT $1::uuid, a.account_id, a.tenant_id, $3::bytea, now() + $4::interval, left($5::text, 64), left($6::text, 256)
FROM auth.accounts AS a
WHERE a.account_id = $2::uuid;

-- name: rotate_token
-- Puts a successor (the first of $2, a hash) in the place of a good token ($1, a hash); the successor lives for a while
-- ($3). A token that was exchanged for one of the successors less than the grace ($4) ago changes nothing.
SELECT session_id, account_id, tenant_id, roles, plan, token_digest, refresh_seconds
FROM auth.rotate_token($1::bytea, $2::bytea[], $3::interval, $4::interval);

-- name: end_reused
-- Ends the session that a token ($1, a hash) was spent in longer ago than the grace ($2), with its access tokens, which
-- live for a while ($3), and returns whose it was.
SELECT session_id, account_id, tenant_id
FROM auth.end_reused($1::bytea, $2::interval, $3::interval);

-- name: find_session_of_token
-- Returns the session, over or not, that a token ($1, a hash) is or was of, and whether the token is good now.
SELECT session_id, account_id, tenant_id, roles, plan, created_at, rotated_at, expires_at, is_good
FROM auth.find_session_of_token($1::bytea);

-- name: list_sessions
-- Returns sessions of an account ($1) that can be gone on with, the newest first, from behind a position ($2 time, $3 id)
-- on, $4 at most.
SELECT session_id, created_at, rotated_at, expires_at, address, user_agent
FROM auth.sessions
WHERE account_id = $1::uuid
  AND ended_at IS NULL
  AND expires_at > now()
  AND (created_at, session_id) < ($2::timestamptz, $3::uuid)
ORDER BY created_at DESC, session_id DESC
LIMIT $4::int4;

-- name: end_session
-- Ends a session ($1) of an account ($2), with its access tokens, which live for a while ($3), and returns its id.
WITH ended AS (
  UPDATE auth.sessions
  SET ended_at = now()
  WHERE session_id = $1::uuid AND account_id = $2::uuid AND ended_at IS NULL AND expires_at > now()
  RETURNING session_id
), revoked AS (
  INSERT INTO auth.revocations (kind, name, issued_before, until)
  SELECT 'session', ended.session_id::text, 'infinity', now() + $3::interval
  FROM ended
  ON CONFLICT (kind, name) DO NOTHING
)
SELECT session_id
FROM ended;

-- name: end_sessions
-- Ends the sessions of an account ($1), but for one ($2), with their access tokens, which live for a while ($3), and
-- returns how many there were.
WITH ended AS (
  UPDATE auth.sessions
  SET ended_at = now()
  WHERE account_id = $1::uuid AND session_id IS DISTINCT FROM $2::uuid AND ended_at IS NULL AND expires_at > now()
  RETURNING session_id
), revoked AS (
  INSERT INTO auth.revocations (kind, name, issued_before, until)
  SELECT 'session', ended.session_id::text, 'infinity', now() + $3::interval
  FROM ended
  ON CONFLICT (kind, name) DO NOTHING
)
SELECT count(*)::int4
FROM ended;

-- name: revoke
-- Refuses the tokens of a kind ($1) and name ($2) that were issued until now, or all of them until that is taken back
-- ($3). They live for a while ($4).
INSERT INTO auth.revocations AS r (kind, name, issued_before, until)
VALUES (
  $1::text, $2::text,
  CASE WHEN $3::bool THEN 'infinity'::timestamptz ELSE clock_timestamp() END,
  CASE WHEN $3::bool THEN 'infinity'::timestamptz ELSE clock_timestamp() + $4::interval END
)
ON CONFLICT (kind, name) DO UPDATE SET
  issued_before = greatest(r.issued_before, excluded.issued_before),
  until = greatest(r.until, excluded.until),
  changed_at = clock_timestamp();

-- name: restore
-- Takes back that all tokens of a kind ($1) and name ($2) are refused: from now on new ones are good. The old ones, which
-- live for a while ($3), are not.
UPDATE auth.revocations
SET issued_before = clock_timestamp(), until = clock_timestamp() + $3::interval, changed_at = clock_timestamp()
WHERE kind = $1::text AND name = $2::text AND issued_before = 'infinity';

-- name: find_revocations
-- Returns what was revoked or restored since a while ($1) ago, times in Unix seconds.
SELECT
  kind, name, extract(epoch FROM issued_before)::float8 AS issued_before, extract(epoch FROM until)::float8 AS until,
  extract(epoch FROM changed_at)::float8 AS changed_at
FROM auth.revocations
WHERE changed_at > now() - $1::interval AND until > now()
ORDER BY changed_at;

-- name: is_revoked
-- Tells whether a token with this jti ($1), sid ($2), sub ($3) and tenant ($4), issued at a time ($5, Unix seconds), is
-- refused.
SELECT EXISTS (
  SELECT FROM auth.revocations
  WHERE (kind, name) IN (('token', $1::text), ('session', $2::text), ('subject', $3::text), ('tenant', $4::text))
    AND issued_before > to_timestamp($5::float8)
);

-- name: forget_revocations
-- Forgets what covers no token any more.
DELETE FROM auth.revocations
WHERE until <= now() - interval '1 hour';

-- name: forget_sessions
-- Forgets sessions, so many ($1) at most, that nobody can go on with since a day.
SELECT auth.forget_sessions($1::int4);

-- name: take_turn
-- Waits until nobody else adds to what a text ($1) names, and keeps others waiting until the transaction ends, so that
-- what is counted before something is added stays true.
SELECT pg_advisory_xact_lock(hashtextextended($1::text, 0));

-- name: add_api_key
-- Adds an API key ($1 id, $2 account, $3 tenant, $4 name, $5 hash, $6 hint, $7 scopes, $8 end) unless the account has as
-- many ($9) as it may.
INSERT INTO auth.api_keys (api_key_id, account_id, tenant_id, display_name, key_digest, hint, scopes, expires_at)
SELECT $1::uuid, $2::uuid, $3::text, $4::text, $5::bytea, $6::text, $7::text[], $8::timestamptz
WHERE (SELECT count(*) FROM auth.api_keys WHERE account_id = $2::uuid AND revoked_at IS NULL) < $9::int4
RETURNING api_key_id, display_name, scopes, created_at, expires_at, last_used_at, hint;

-- name: list_api_keys
-- Returns API keys of an account ($1) that are not revoked, the newest first, from behind a position ($2 time, $3 id) on,
-- $4 at most.
SELECT api_key_id, display_name, scopes, created_at, expires_at, last_used_at, hint
FROM auth.api_keys
WHERE account_id = $1::uuid AND revoked_at IS NULL AND (created_at, api_key_id) < ($2::timestamptz, $3::uuid)
ORDER BY created_at DESC, api_key_id DESC
LIMIT $4::int4;

-- name: revoke_api_key
-- Revokes an API key ($1) of an account ($2), with its access tokens, which live for a while ($3), and returns its id.
WITH ended AS (
  UPDATE auth.api_keys
  SET revoked_at = now()
  WHERE api_key_id = $1::uuid AND account_id = $2::uuid AND revoked_at IS NULL
  RETURNING api_key_id
), revoked AS (
  INSERT INTO auth.revocations (kind, name, issued_before, until)
  SELECT 'session', ended.api_key_id::text, 'infinity', now() + $3::interval
  FROM ended
  ON CONFLICT (kind, name) DO NOTHING
)
SELECT api_key_id
FROM ended;

-- name: use_api_key
-- Notes that an API key ($1, a hash) is used, and returns it with its account if both are good.
SELECT api_key_id, scopes, account_id, tenant_id, roles, plan
FROM auth.use_api_key($1::bytea);

-- name: add_service_account
-- Adds a service account ($1 id, $2 tenant, $3 name, $4 hash of its secret, $5 roles, $6 plan, $7 scopes) unless the
-- tenant has as many ($8) as it may.
INSERT INTO auth.service_accounts
  (service_account_id, tenant_id, display_name, secret_digest, roles, plan, scopes)
SELECT $1::uuid, $2::text, $3::text, $4::bytea, $5::text[], $6::text, $7::text[]
WHERE (SELECT count(*) FROM auth.service_accounts WHERE tenant_id = $2::text) < $8::int4
RETURNING service_account_id, display_name, roles, scopes, created_at, last_used_at;

-- name: list_service_accounts
-- Returns service accounts of a tenant ($1), the newest first, from behind a position ($2 time, $3 id) on, $4 at most.
SELECT service_account_id, display_name, roles, scopes, created_at, last_used_at
FROM auth.service_accounts
WHERE tenant_id = $1::text AND (created_at, service_account_id) < ($2::timestamptz, $3::uuid)
ORDER BY created_at DESC, service_account_id DESC
LIMIT $4::int4;

-- name: reset_service_account
-- Gives a service account ($1) of a tenant ($2) a new secret ($3, its hash), and refuses the tokens that it got until now,
-- which live for a while ($4).
WITH changed AS (
  UPDATE auth.service_accounts
  SET secret_digest = $3::bytea
  WHERE service_account_id = $1::uuid AND tenant_id = $2::text
  RETURNING service_account_id, display_name, roles, scopes, created_at, last_used_at
), revoked AS (
  INSERT INTO auth.revocations AS r (kind, name, issued_before, until)
  SELECT 'subject', changed.service_account_id::text, clock_timestamp(), clock_timestamp() + $4::interval
  FROM changed
  ON CONFLICT (kind, name) DO UPDATE SET
    issued_before = greatest(r.issued_before, excluded.issued_before),
    until = greatest(r.until, excluded.until),
    changed_at = clock_timestamp()
)
SELECT service_account_id, display_name, roles, scopes, created_at, last_used_at
FROM changed;

-- name: delete_service_account
-- Deletes a service account ($1) of a tenant ($2), refuses its tokens, which live for a while ($3), and returns its id.
WITH gone AS (
  DELETE FROM auth.service_accounts
  WHERE service_account_id = $1::uuid AND tenant_id = $2::text
  RETURNING service_account_id
), revoked AS (
  INSERT INTO auth.revocations AS r (kind, name, issued_before, until)
  SELECT 'subject', gone.service_account_id::text, 'infinity', clock_timestamp() + $3::interval
  FROM gone
  ON CONFLICT (kind, name) DO UPDATE SET
    issued_before = 'infinity', until = greatest(r.until, excluded.until), changed_at = clock_timestamp()
)
SELECT service_account_id
FROM gone;

-- name: use_service_account
-- Notes that a service account ($1) is used with its secret ($2, a hash), and returns it if it is good.
SELECT service_account_id, tenant_id, roles, plan, scopes
FROM auth.use_service_account($1::uuid, $2::bytea);

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
-- Adds a key ($1 id, $2 and $3 its public point, $4 its sealed private half) that signs after a while ($5).
INSERT INTO auth.signing_keys (key_id, x, y, sealed, signs_from)
VALUES ($1::text, $2::text, $3::text, $4::bytea, now() + $5::interval);

-- name: retire_keys
-- Has every key but one ($1), which takes their place after a while ($2), published until the last token that they signed
-- has expired, which takes another while ($3) from then on.
UPDATE auth.signing_keys
SET published_until = least(published_until, now() + $2::interval + $3::interval)
WHERE key_id <> $1::text AND (published_until IS NULL OR published_until > now());

-- name: withdraw_key
-- Withdraws a key ($1) at once, and with it every token that it signed, and returns its id.
UPDATE auth.signing_keys
SET published_until = now()
WHERE key_id = $1::text AND (published_until IS NULL OR published_until > now())
RETURNING key_id;

-- name: forget_keys
-- Forgets the keys that nobody needs, and returns how many they were.
WITH gone AS (
  DELETE FROM auth.signing_keys
  WHERE published_until <= now()
  RETURNING key_id
)
SELECT count(*)::int4
FROM gone;

-- name: list_keys
-- Returns the keys that are published, the newest first.
SELECT key_id, created_at, signs_from, published_until, signs_from <= now() AS signs
FROM auth.signing_keys
WHERE published_until IS NULL OR published_until > now()
ORDER BY signs_from DESC, key_id;

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

-- name: replace_password_hash
-- Puts a hash ($3) in the place of an account's ($1) hash ($2) of the same password.
UPDATE auth.accounts
SET password_hash = $3::text
WHERE account_id = $1::uuid AND password_hash = $2::text;

-- name: use_totp_step
-- Uses a time step ($2) of an account ($1) up, and every one before it; returns nothing if it was.
UPDATE auth.accounts
SET totp_last_step = $2::bigint
WHERE account_id = $1::uuid AND totp_last_step < $2::bigint
RETURNING account_id;

-- name: use_recovery_code
-- Uses a recovery code ($2, its hash) of an account ($1) up; returns nothing if there is none such.
DELETE FROM auth.recovery_codes
WHERE account_id = $1::uuid AND code_digest = $2::bytea
RETURNING account_id;

-- name: find_person
-- Returns an account ($1) that may sign in.
SELECT
  a.account_id, a.tenant_id, a.roles, a.plan, a.email, a.password_hash,
  CASE WHEN a.totp_confirmed_at IS NOT NULL THEN a.totp_sealed END AS totp_sealed,
  CASE WHEN a.totp_confirmed_at IS NULL THEN a.totp_sealed END AS totp_pending
FROM auth.accounts AS a
JOIN auth.tenants AS t ON t.tenant_id = a.tenant_id
WHERE a.account_id = $1::uuid AND a.disabled_at IS NULL AND t.suspended_at IS NULL;

-- name: add_one_time_token
-- Keeps a token ($1, its hash) for a purpose ($2) that was sent to an address ($3), for a while ($6), in the place of an
-- older one; of an invitation also the tenant ($4) and the roles ($5). Returns until when it is good.
SELECT auth.add_one_time_token($1::bytea, $2::text, $3::text, $4::text, $5::text[], $6::interval);

-- name: find_one_time_token
-- Returns what a token ($1, its hash) for a purpose ($2) was sent for.
SELECT email, tenant_id, roles
FROM auth.find_one_time_token($1::bytea, $2::text);

-- name: take_one_time_token
-- Uses a token ($1, its hash) for a purpose ($2) up, and returns what it was sent for.
SELECT email, tenant_id, roles
FROM auth.take_one_time_token($1::bytea, $2::text);

-- name: lock_tenant
-- Returns the plan of a tenant ($1) that may sign in, which stays as it is until the transaction ends.
SELECT plan
FROM auth.tenants
WHERE tenant_id = $1::text AND suspended_at IS NULL
FOR KEY SHARE;

-- name: set_password
-- Sets the password hash ($2) of an account ($1) that may sign in, and returns its id.
UPDATE auth.accounts AS a
SET password_hash = $2::text
FROM auth.tenants AS t
WHERE a.account_id = $1::uuid AND a.disabled_at IS NULL AND t.tenant_id = a.tenant_id AND t.suspended_at IS NULL
RETURNING a.account_id;

-- name: change_password
-- Puts a password hash ($3) in the place of an account's ($1) other one ($2); returns nothing if that is not it.
UPDATE auth.accounts
SET password_hash = $3::text
WHERE account_id = $1::uuid AND password_hash = $2::text AND disabled_at IS NULL
RETURNING account_id;

-- name: drop_one_time_tokens
-- Makes the tokens useless that were sent to the address of an account ($1).
SELECT auth.drop_one_time_tokens($1::uuid);

-- name: enrol_totp
-- Keeps a sealed secret ($2) of an account ($1) that is not asked for yet.
UPDATE auth.accounts
SET totp_sealed = $2::bytea
WHERE account_id = $1::uuid AND totp_confirmed_at IS NULL;

-- name: confirm_totp
-- Asks an account ($1) for codes of the secret that was enrolled ($2) from now on, and uses the time step ($3) up; returns
-- nothing if another one was enrolled meanwhile.
UPDATE auth.accounts
SET totp_confirmed_at = now(), totp_last_step = $3::bigint
WHERE account_id = $1::uuid AND totp_sealed = $2::bytea AND totp_confirmed_at IS NULL
RETURNING account_id;

-- name: add_recovery_codes
-- Adds recovery codes ($2, hashes) to an account ($1).
INSERT INTO auth.recovery_codes (account_id, code_digest)
SELECT $1::uuid, d.digest
FROM unnest($2::bytea[]) AS d (digest);

-- name: disable_totp
-- Asks an account ($1) for codes no more, and forgets its recovery codes.
WITH forgotten AS (
  DELETE FROM auth.recovery_codes
  WHERE account_id = $1::uuid
)
UPDATE auth.accounts
SET totp_sealed = NULL, totp_confirmed_at = NULL
WHERE account_id = $1::uuid;

-- name: add_tenant
-- Adds a tenant ($1 id, $2 name for people, $3 plan, $4 to $6 its own limits); returns nothing when there is one.
INSERT INTO auth.tenants
  (tenant_id, display_name, plan, requests_per_hour, streams_per_minute, batch_calls_per_hour)
VALUES ($1::text, $2::text, $3::text, $4::int4, $5::int4, $6::int4)
ON CONFLICT (tenant_id) DO NOTHING
RETURNING tenant_id;

-- name: find_tenant
-- Returns a tenant ($1).
SELECT
  tenant_id, display_name, plan, requests_per_hour, streams_per_minute, batch_calls_per_hour, created_at, suspended_at
FROM auth.tenants
WHERE tenant_id = $1::text;

-- name: list_tenants
-- Returns a tenant ($1), so many ($3) after one ($2, or null): the list of whoever manages that one alone.
SELECT
  tenant_id, display_name, plan, requests_per_hour, streams_per_minute, batch_calls_per_hour, created_at, suspended_at
FROM auth.tenants
WHERE tenant_id = $1::text AND ($2::text IS NULL OR tenant_id > $2::text)
ORDER BY tenant_id
LIMIT $3::int4;

-- name: list_all_tenants
-- Returns so many ($2) tenants of the mesh after one ($1, or null).
SELECT
  tenant_id, display_name, plan, requests_per_hour, streams_per_minute, batch_calls_per_hour, created_at, suspended_at
FROM auth.list_tenants($1::text, $2::int4);

-- name: update_tenant
-- Changes the name ($2) and the plan ($3) of a tenant ($1), where they are not null, and all its limits ($5 to $7) where
-- it is said so ($4).
UPDATE auth.tenants
SET
  display_name = coalesce($2::text, display_name),
  plan = coalesce($3::text, plan),
  requests_per_hour = CASE WHEN $4::bool THEN $5::int4 ELSE requests_per_hour END,
  streams_per_minute = CASE WHEN $4::bool THEN $6::int4 ELSE streams_per_minute END,
  batch_calls_per_hour = CASE WHEN $4::bool THEN $7::int4 ELSE batch_calls_per_hour END
WHERE tenant_id = $1::text
RETURNING tenant_id;

-- name: set_plan_of_users
-- Puts everyone of a tenant ($1) on a plan ($2), its programs too.
WITH programs AS (
  UPDATE auth.service_accounts
  SET plan = $2::text
  WHERE tenant_id = $1::text AND plan <> $2::text
)
UPDATE auth.accounts
SET plan = $2::text
WHERE tenant_id = $1::text AND plan <> $2::text;

-- name: suspend_tenant
-- Suspends a tenant ($1) or, if $2 is false, resumes it; returns nothing if it is so already.
UPDATE auth.tenants
SET suspended_at = CASE WHEN $2::bool THEN now() END
WHERE tenant_id = $1::text AND (suspended_at IS NULL) = $2::bool
RETURNING tenant_id;

-- name: list_tenant_limits
-- Returns the tenants that have limits of their own.
SELECT tenant_id, requests_per_hour, streams_per_minute, batch_calls_per_hour
FROM auth.list_tenant_limits();

-- name: find_user
-- Returns a user ($1) of a tenant ($2).
SELECT account_id, email, tenant_id, roles, plan, created_at, disabled_at, totp_confirmed_at
FROM auth.accounts
WHERE account_id = $1::uuid AND tenant_id = $2::text;

-- name: lock_user
-- Returns a user ($1) of a tenant ($2), who stays as they are until the transaction ends.
SELECT account_id, email, tenant_id, roles, plan, created_at, disabled_at, totp_confirmed_at
FROM auth.accounts
WHERE account_id = $1::uuid AND tenant_id = $2::text
FOR UPDATE;

-- name: list_users
-- Returns so many ($4) users of a tenant ($2) by their addresses, after one ($3 or null): the one with an address ($1) if
-- that is not null.
SELECT account_id, email, tenant_id, roles, plan, created_at, disabled_at, totp_confirmed_at
FROM auth.accounts
WHERE ($1::text IS NULL OR email = $1::text) AND tenant_id = $2::text AND ($3::text IS NULL OR email > $3::text)
ORDER BY email
LIMIT $4::int4;

-- name: list_all_users
-- Returns so many ($3) users of the mesh by their addresses, after one ($2 or null): the one with an address ($1) if that
-- is not null.
SELECT account_id, email, tenant_id, roles, plan, created_at, disabled_at, totp_confirmed_at
FROM auth.list_users($1::text, $2::text, $3::int4);

-- name: set_roles
-- Gives a user ($1) roles ($2).
UPDATE auth.accounts
SET roles = $2::text[]
WHERE account_id = $1::uuid;

-- name: suspend_user
-- Suspends a user ($1) or, if $2 is false, resumes them.
UPDATE auth.accounts
SET disabled_at = CASE WHEN $2::bool THEN now() END
WHERE account_id = $1::uuid;

-- name: delete_user
-- Deletes a user ($1).
DELETE FROM auth.accounts
WHERE account_id = $1::uuid;

-- name: lock_administrators
-- Keeps two apart who take the mesh's administrators away, until the transaction ends. The number is this lock's name.
SELECT pg_advisory_xact_lock(7346211907);

-- name: has_administrator
-- Tells whether somebody with a role ($1) may sign in, other than one account ($2 or null) and one tenant ($3 or null).
SELECT auth.has_administrator($1::text, $2::uuid, $3::text);

-- name: list_audit_events
-- Returns so many ($8) events of a tenant ($1), the newest first: of a kind ($2 or null), of an account ($3 or null), from
-- one time ($4 or null) to before another ($5 or null), before the one at a time ($6 or null) with a number ($7).
SELECT
  tenant_id, sequence, occurred_at, event, outcome, subject, actor, address, request_id, details, previous_hash, hash
FROM auth.audit_events
WHERE tenant_id = $1::text
  AND ($2::text IS NULL OR event = $2::text)
  AND ($3::text IS NULL OR subject = $3::text)
  AND ($4::timestamptz IS NULL OR occurred_at >= $4::timestamptz)
  AND ($5::timestamptz IS NULL OR occurred_at < $5::timestamptz)
  AND ($6::timestamptz IS NULL OR (occurred_at, sequence) < ($6::timestamptz, $7::int8))
ORDER BY occurred_at DESC, sequence DESC
LIMIT $8::int4;

-- name: read_audit_chain
-- Returns so many ($3) events of a tenant ($1) after one ($2), the oldest first.
SELECT
  tenant_id, sequence, occurred_at, event, outcome, subject, actor, address, request_id, details, previous_hash, hash
FROM auth.audit_events
WHERE tenant_id = $1::text AND sequence > $2::int8
ORDER BY sequence
LIMIT $3::int4;

-- name: find_audit_hash
-- Returns the hash of an event ($2) of a tenant ($1).
SELECT hash
FROM auth.audit_events
WHERE tenant_id = $1::text AND sequence = $2::int8;

-- name: find_audit_head
-- Returns the end of a tenant's ($1) chain.
SELECT sequence, hash
FROM auth.audit_heads
WHERE tenant_id = $1::text;

-- name: take_refusals_turn
-- Tells whether nobody else enters refusals until this transaction ends. The number is this lock's name.
SELECT pg_try_advisory_xact_lock(7346211908);

-- name: enter_refusal
-- Remembers that the audit log has a refusal ($1); returns its id, or nothing where it was remembered before.
INSERT INTO auth.entered_refusals (refusal_id)
VALUES ($1::uuid)
ON CONFLICT (refusal_id) DO NOTHING
RETURNING refusal_id;

-- name: forget_refusals
-- Forgets the refusals that were entered longer ago than an interval ($1): nobody hands them over again.
DELETE FROM auth.entered_refusals
WHERE entered_at < now() - $1::interval;
