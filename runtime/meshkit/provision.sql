-- Run by meshkit.migrate before a service's migrations; every statement may be run again.
-- Its parameters are settings of the session, because DDL takes no bind parameters:
-- provision.schema, provision.role, provision.password, provision.owner_password (empty: the owner cannot sign in).

CREATE EXTENSION IF NOT EXISTS postgis SCHEMA public;
CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
CREATE EXTENSION IF NOT EXISTS fuzzystrmatch SCHEMA public;
CREATE EXTENSION IF NOT EXISTS unaccent SCHEMA public;
CREATE EXTENSION IF NOT EXISTS cube SCHEMA public;
CREATE EXTENSION IF NOT EXISTS btree_gist SCHEMA public;

-- Under row-level security a condition may use an index only if its function can tell nothing about hidden rows. These
-- compare boxes and distances and fail only on mixed SRIDs, which a column with a declared SRID does not have. ST_Intersects
-- is not among them: its errors quote coordinates. Only a superuser may say so; elsewhere such queries read whole tables.
DO $$
DECLARE
  harmless regprocedure;
BEGIN
  IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    FOR harmless IN
      SELECT oid::regprocedure FROM pg_proc
      WHERE NOT proleakproof AND oid IN (
        'public.cube_contained(public.cube, public.cube)'::regprocedure,
        'public.geometry_overlaps(public.geometry, public.geometry)'::regprocedure,
        'public.geography_overlaps(public.geography, public.geography)'::regprocedure,
        'public.st_dwithin(public.geometry, public.geometry, double precision)'::regprocedure,
        'public.st_dwithin(public.geography, public.geography, double precision, boolean)'::regprocedure
      )
    LOOP
      EXECUTE format('ALTER FUNCTION %s LEAKPROOF', harmless);
    END LOOP;
  END IF;
END
$$;

-- Not even a function with a trusted name may be planted where every role looks names up.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

DO $$
DECLARE
  service_schema text := current_setting('provision.schema');
  service_role text := current_setting('provision.role');
  passwords jsonb := jsonb_build_object(
    'geomesh_owner', current_setting('provision.owner_password'),
    service_role, current_setting('provision.password')
  );
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['geomesh_owner', service_role] LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN', name);
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
      NULL; -- Roles belong to the cluster: another database's migration may have made it this instant.
    END;
    IF passwords ->> name <> '' THEN
      EXECUTE format('ALTER ROLE %I LOGIN PASSWORD %L', name, passwords ->> name);
    END IF;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = name AND (rolsuper OR rolbypassrls)) THEN
      RAISE EXCEPTION 'role % is above row-level security; take SUPERUSER and BYPASSRLS from it', name;
    END IF;
  END LOOP;

  -- A superuser is a member of every role; anyone else must be made one to hand objects to the owner.
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('GRANT geomesh_owner TO %I', current_user);
  END IF;

  EXECUTE format('CREATE SCHEMA IF NOT EXISTS %I AUTHORIZATION geomesh_owner', service_schema);
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', service_schema, service_role);
  EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE geomesh_owner IN SCHEMA %I '
                 'GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO %I', service_schema, service_role);
  EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE geomesh_owner IN SCHEMA %I '
                 'GRANT USAGE ON SEQUENCES TO %I', service_schema, service_role);
  EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE geomesh_owner IN SCHEMA %I '
                 'GRANT EXECUTE ON FUNCTIONS TO %I', service_schema, service_role);

  -- Of the role, not of the role in this database: a copy of a template database keeps only the former.
  EXECUTE format('ALTER ROLE %I SET search_path = %I, public', service_role, service_schema);
  -- PostGIS functions declare high costs, so that JIT would compile for longer than these queries run.
  EXECUTE format('ALTER ROLE %I SET jit = off', service_role);
END
$$;
