-- migrate:up

-- A connection that is bound to no tenant sees no row of any. What has to be asked before a tenant is known (whose address,
-- whose token is this?) and what concerns the whole mesh goes through the functions below and nothing else. Each answers
-- one question, and returns the tenant, to which the rest of the work is then bound.

UPDATE auth.sessions AS s SET tenant_id = a.tenant_id
FROM auth.accounts AS a
WHERE a.account_id = s.account_id AND s.tenant_id IS NULL;
ALTER TABLE auth.sessions ALTER COLUMN tenant_id SET NOT NULL;

ALTER POLICY own_tenant ON auth.tenants USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.accounts USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.one_time_tokens USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.audit_events USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.audit_heads USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.sessions USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.api_keys USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));
ALTER POLICY own_tenant ON auth.service_accounts USING (tenant_id = (SELECT current_setting('geomesh.tenant', true)));

-- What hangs on an account is seen by whoever sees the account.
ALTER TABLE auth.recovery_codes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_account ON auth.recovery_codes
  USING (EXISTS (SELECT FROM auth.accounts AS a WHERE a.account_id = recovery_codes.account_id));
REVOKE ALL ON auth.spent_tokens FROM geomesh_auth;
REVOKE INSERT, UPDATE, DELETE ON auth.one_time_tokens FROM geomesh_auth;

-- The functions are in plpgsql, which keeps their plans; SQL functions are planned at each call.

CREATE FUNCTION auth.find_account(wanted_email text) RETURNS TABLE (
  account_id uuid, tenant_id text, roles text[], plan text, password_hash text, is_active boolean, totp_sealed bytea
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT
    a.account_id, a.tenant_id, a.roles, a.plan, a.password_hash,
    a.disabled_at IS NULL AND t.suspended_at IS NULL,
    CASE WHEN a.totp_confirmed_at IS NOT NULL THEN a.totp_sealed END
  FROM auth.accounts AS a
  JOIN auth.tenants AS t ON t.tenant_id = a.tenant_id
  WHERE a.email = wanted_email;
END
$$;

CREATE FUNCTION auth.tenant_of_account(wanted_account uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  RETURN (SELECT a.tenant_id FROM auth.accounts AS a WHERE a.account_id = wanted_account);
END
$$;

-- Puts a successor (the first of them) in the place of a good token. If the good token is one of the successors already and
-- has been for less than the grace, a client repeats a call whose answer it lost: nothing changes. Calls that use one token
-- at one time wait here for each other's row, and Postgres then looks again at the row as the first of them left it, so
-- that the others find themselves repeating.
CREATE FUNCTION auth.rotate_token(old bytea, successors bytea[], life interval, grace interval) RETURNS TABLE (
  session_id uuid, account_id uuid, tenant_id text, roles text[], plan text, token_digest bytea, refresh_seconds integer
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH rotated AS (
    UPDATE auth.sessions AS s
    SET
      token_digest = CASE WHEN s.token_digest = old THEN successors[1] ELSE s.token_digest END,
      expires_at = CASE WHEN s.token_digest = old THEN now() + life ELSE s.expires_at END,
      rotated_at = CASE WHEN s.token_digest = old THEN now() ELSE s.rotated_at END
    FROM auth.accounts AS a
    WHERE s.token_digest = ANY (old || successors)
      AND (s.token_digest = old OR s.rotated_at > now() - grace)
      AND s.expires_at > now()
      AND s.ended_at IS NULL
      AND a.account_id = s.account_id
      AND a.disabled_at IS NULL
      -- Written out, so that each is one step in the index.
      AND NOT EXISTS (
        SELECT FROM auth.revocations AS r
        WHERE r.kind = 'subject' AND r.name = a.account_id::text AND r.issued_before = 'infinity'
      )
      AND NOT EXISTS (
        SELECT FROM auth.revocations AS r
        WHERE r.kind = 'tenant' AND r.name = a.tenant_id AND r.issued_before = 'infinity'
      )
    RETURNING s.session_id, s.token_digest, s.expires_at, a.account_id, a.tenant_id, a.roles, a.plan
  ), spent AS (
    INSERT INTO auth.spent_tokens (token_digest, session_id, spent_at)
    SELECT old, rotated.session_id, now()
    FROM rotated
    ON CONFLICT (token_digest) DO NOTHING
  ), forgotten AS (
    -- A token that would have expired by now is refused for that alone.
    DELETE FROM auth.spent_tokens AS t
    USING rotated
    WHERE t.session_id = rotated.session_id AND t.spent_at <= now() - life
  )
  SELECT
    r.session_id, r.account_id, r.tenant_id, r.roles, r.plan, r.token_digest,
    greatest(0, floor(extract(epoch FROM r.expires_at - now())))::integer
  FROM rotated AS r;
END
$$;

-- Ends the session that a token was spent in longer ago than the grace, with its access tokens, and returns whose it was.
CREATE FUNCTION auth.end_reused(spent_digest bytea, grace interval, life interval) RETURNS TABLE (
  session_id uuid, account_id uuid, tenant_id text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH ended AS (
    UPDATE auth.sessions AS s
    SET ended_at = now()
    FROM auth.spent_tokens AS t, auth.accounts AS a
    WHERE t.token_digest = spent_digest
      AND t.spent_at <= now() - grace
      AND s.session_id = t.session_id
      AND s.ended_at IS NULL
      AND a.account_id = s.account_id
    RETURNING s.session_id, a.account_id, a.tenant_id
  ), revoked AS (
    INSERT INTO auth.revocations (kind, name, issued_before, until)
    SELECT 'session', ended.session_id::text, 'infinity', now() + life
    FROM ended
    ON CONFLICT (kind, name) DO NOTHING
  )
  SELECT e.session_id, e.account_id, e.tenant_id
  FROM ended AS e;
END
$$;

-- The session, over or not, that a token is or was of, and whether the token is good now.
CREATE FUNCTION auth.find_session_of_token(wanted_digest bytea) RETURNS TABLE (
  session_id uuid, account_id uuid, tenant_id text, roles text[], plan text, created_at timestamptz,
  rotated_at timestamptz, expires_at timestamptz, is_good boolean
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT
    s.session_id, a.account_id, a.tenant_id, a.roles, a.plan, s.created_at, s.rotated_at, s.expires_at,
    s.token_digest = wanted_digest AND s.ended_at IS NULL AND s.expires_at > now() AND a.disabled_at IS NULL
    AND NOT EXISTS (
      SELECT FROM auth.revocations AS r
      WHERE (r.kind, r.name) IN (('subject', a.account_id::text), ('tenant', a.tenant_id))
        AND r.issued_before = 'infinity'
    )
  FROM auth.sessions AS s
  JOIN auth.accounts AS a ON a.account_id = s.account_id
  WHERE s.session_id IN (
    SELECT o.session_id FROM auth.sessions AS o WHERE o.token_digest = wanted_digest
    UNION ALL
    SELECT t.session_id FROM auth.spent_tokens AS t WHERE t.token_digest = wanted_digest
  );
END
$$;

-- Forgets sessions, so many at most, that nobody can go on with since a day, and with them the tokens they spent. What was
-- ended stays until its last token would have expired, so that a copy of one is still recognized.
CREATE FUNCTION auth.forget_sessions(most integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  DELETE FROM auth.sessions
  WHERE session_id IN (
    SELECT s.session_id
    FROM auth.sessions AS s
    WHERE s.expires_at <= now() - interval '1 day'
    LIMIT most
    FOR UPDATE SKIP LOCKED
  );
END
$$;

-- Notes that an API key is used, and returns it with its account if both are good.
CREATE FUNCTION auth.use_api_key(wanted_digest bytea) RETURNS TABLE (
  api_key_id uuid, scopes text[], account_id uuid, tenant_id text, roles text[], plan text
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  UPDATE auth.api_keys AS k
  SET last_used_at = now()
  FROM auth.accounts AS a
  WHERE k.key_digest = wanted_digest
    AND k.revoked_at IS NULL
    AND k.expires_at > now()
    AND a.account_id = k.account_id
    AND a.disabled_at IS NULL
    AND NOT EXISTS (
      SELECT FROM auth.revocations AS r
      WHERE (r.kind, r.name) IN (('subject', a.account_id::text), ('tenant', a.tenant_id))
        AND r.issued_before = 'infinity'
    )
  RETURNING k.api_key_id, k.scopes, a.account_id, a.tenant_id, a.roles, a.plan;
END
$$;

-- Notes that a service account is used with its secret, and returns it if it is good.
CREATE FUNCTION auth.use_service_account(wanted_account uuid, wanted_digest bytea) RETURNS TABLE (
  service_account_id uuid, tenant_id text, roles text[], plan text, scopes text[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  UPDATE auth.service_accounts AS c
  SET last_used_at = now()
  WHERE c.service_account_id = wanted_account
    AND c.secret_digest = wanted_digest
    AND NOT EXISTS (
      SELECT FROM auth.revocations AS r
      WHERE (r.kind, r.name) IN (('subject', c.service_account_id::text), ('tenant', c.tenant_id))
        AND r.issued_before = 'infinity'
    )
  RETURNING c.service_account_id, c.tenant_id, c.roles, c.plan, c.scopes;
END
$$;

-- Keeps a token that was sent to an address, in the place of an older one, and returns until when it is good. Forgets what
-- has expired, a few at a time.
CREATE FUNCTION auth.add_one_time_token(
  new_digest bytea, new_purpose text, new_email text, new_tenant text, new_roles text[], life interval
) RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
  good_until timestamptz;
BEGIN
  DELETE FROM auth.one_time_tokens
  WHERE token_digest IN (
    SELECT o.token_digest
    FROM auth.one_time_tokens AS o
    WHERE o.expires_at <= now() AND o.email <> new_email
    LIMIT 100
    FOR UPDATE SKIP LOCKED
  );
  INSERT INTO auth.one_time_tokens AS o (token_digest, purpose, email, tenant_id, roles, expires_at)
  VALUES (new_digest, new_purpose, new_email, new_tenant, new_roles, now() + life)
  ON CONFLICT (email, purpose) DO UPDATE SET
    token_digest = excluded.token_digest, tenant_id = excluded.tenant_id, roles = excluded.roles,
    created_at = now(), expires_at = excluded.expires_at
  RETURNING o.expires_at INTO good_until;
  RETURN good_until;
END
$$;

CREATE FUNCTION auth.find_one_time_token(wanted_digest bytea, wanted_purpose text) RETURNS TABLE (
  email text, tenant_id text, roles text[]
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT o.email, o.tenant_id, o.roles
  FROM auth.one_time_tokens AS o
  WHERE o.token_digest = wanted_digest AND o.purpose = wanted_purpose AND o.expires_at > now();
END
$$;

CREATE FUNCTION auth.take_one_time_token(wanted_digest bytea, wanted_purpose text) RETURNS TABLE (
  email text, tenant_id text, roles text[]
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  DELETE FROM auth.one_time_tokens AS o
  WHERE o.token_digest = wanted_digest AND o.purpose = wanted_purpose AND o.expires_at > now()
  RETURNING o.email, o.tenant_id, o.roles;
END
$$;

CREATE FUNCTION auth.drop_one_time_tokens(owning_account uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  DELETE FROM auth.one_time_tokens AS o
  USING auth.accounts AS a
  WHERE a.account_id = owning_account AND o.email = a.email;
END
$$;

-- For system administrators, whose lists go through all tenants.
CREATE FUNCTION auth.list_tenants(after text, most integer) RETURNS TABLE (
  tenant_id text, display_name text, plan text, requests_per_hour integer, streams_per_minute integer,
  batch_calls_per_hour integer, created_at timestamptz, suspended_at timestamptz
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT
    t.tenant_id, t.display_name, t.plan, t.requests_per_hour, t.streams_per_minute, t.batch_calls_per_hour,
    t.created_at, t.suspended_at
  FROM auth.tenants AS t
  WHERE after IS NULL OR t.tenant_id > after
  ORDER BY t.tenant_id
  LIMIT most;
END
$$;

CREATE FUNCTION auth.list_users(wanted_email text, after text, most integer) RETURNS TABLE (
  account_id uuid, email text, tenant_id text, roles text[], plan text, created_at timestamptz,
  disabled_at timestamptz, totp_confirmed_at timestamptz
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT a.account_id, a.email, a.tenant_id, a.roles, a.plan, a.created_at, a.disabled_at, a.totp_confirmed_at
  FROM auth.accounts AS a
  WHERE (wanted_email IS NULL OR a.email = wanted_email) AND (after IS NULL OR a.email > after)
  ORDER BY a.email
  LIMIT most;
END
$$;

CREATE FUNCTION auth.has_administrator(wanted_role text, but_account uuid, but_tenant text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  RETURN EXISTS (
    SELECT FROM auth.accounts AS a
    JOIN auth.tenants AS t ON t.tenant_id = a.tenant_id
    WHERE wanted_role = ANY (a.roles)
      AND a.disabled_at IS NULL
      AND t.suspended_at IS NULL
      AND a.account_id IS DISTINCT FROM but_account
      AND a.tenant_id IS DISTINCT FROM but_tenant
  );
END
$$;

-- The tenants that have limits of their own.
CREATE FUNCTION auth.list_tenant_limits() RETURNS TABLE (
  tenant_id text, requests_per_hour integer, streams_per_minute integer, batch_calls_per_hour integer
) LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT t.tenant_id, t.requests_per_hour, t.streams_per_minute, t.batch_calls_per_hour
  FROM auth.tenants AS t
  WHERE t.requests_per_hour IS NOT NULL OR t.streams_per_minute IS NOT NULL OR t.batch_calls_per_hour IS NOT NULL;
END
$$;

REVOKE EXECUTE ON FUNCTION
  auth.find_account(text), auth.tenant_of_account(uuid), auth.rotate_token(bytea, bytea[], interval, interval),
  auth.end_reused(bytea, interval, interval), auth.find_session_of_token(bytea), auth.use_api_key(bytea),
  auth.use_service_account(uuid, bytea), auth.add_one_time_token(bytea, text, text, text, text[], interval),
  auth.find_one_time_token(bytea, text), auth.take_one_time_token(bytea, text), auth.drop_one_time_tokens(uuid),
  auth.list_tenants(text, integer), auth.list_users(text, text, integer),
  auth.has_administrator(text, uuid, text), auth.list_tenant_limits(),
  auth.forget_sessions(integer)
FROM PUBLIC;

-- migrate:down

DROP FUNCTION
  auth.find_account(text), auth.tenant_of_account(uuid), auth.rotate_token(bytea, bytea[], interval, interval),
  auth.end_reused(bytea, interval, interval), auth.find_session_of_token(bytea), auth.use_api_key(bytea),
  auth.use_service_account(uuid, bytea), auth.add_one_time_token(bytea, text, text, text, text[], interval),
  auth.find_one_time_token(bytea, text), auth.take_one_time_token(bytea, text), auth.drop_one_time_tokens(uuid),
  auth.list_tenants(text, integer), auth.list_users(text, text, integer),
  auth.has_administrator(text, uuid, text), auth.list_tenant_limits(),
  auth.forget_sessions(integer);
GRANT INSERT, UPDATE, DELETE ON auth.one_time_tokens TO geomesh_auth;
GRANT SELECT, INSERT, UPDATE, DELETE ON auth.spent_tokens TO geomesh_auth;
DROP POLICY own_account ON auth.recovery_codes;
ALTER TABLE auth.recovery_codes DISABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ALTER COLUMN tenant_id DROP NOT NULL;
ALTER POLICY own_tenant ON auth.tenants USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.accounts USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.one_time_tokens USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.audit_events USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.audit_heads USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.sessions USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.api_keys USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
ALTER POLICY own_tenant ON auth.service_accounts USING (tenant_id = (SELECT current_setting('geomesh.tenant', true))
  OR (SELECT coalesce(current_setting('geomesh.tenant', true), '')) = '');
