-- Schemas, the clock and the tenant scope. {app} is the application's role, which owns nothing.
CREATE SCHEMA app;
CREATE SCHEMA control;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public, app, control TO {app};
GRANT SELECT ON alembic_version TO {app};  -- readiness asks which schema this is

CREATE FUNCTION app.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE AS
'SELECT clock_timestamp()';  -- clock: the only place where SQL reads it; tests replace this function to travel
COMMENT ON FUNCTION app.now() IS 'The present instant; every statement takes it from here.';

CREATE FUNCTION app.current_tenant() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
  scope text := current_setting('app.tenant_id', true);
BEGIN
  -- loud, not silent: a forgotten scope would otherwise read no rows and report success
  IF scope IS NULL OR scope = '' THEN
    RAISE EXCEPTION 'no tenant scope: a tenant table was asked outside tenant_scope()' USING ERRCODE = 'insufficient_privilege';
  END IF;
  RETURN scope::uuid;
END $$;

-- Every tenant table gets the same wall: forced row security, and a restrictive policy for the application's role only, so
-- that an owner who is no superuser can still back-fill and dump.
CREATE FUNCTION app.wall_in(wanted regclass, role name) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', wanted);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', wanted);
  EXECUTE format('CREATE POLICY open ON %s USING (true)', wanted);
  EXECUTE format(
    'CREATE POLICY own_tenant ON %s AS RESTRICTIVE TO %I USING (tenant_id = (SELECT app.current_tenant())) '
    'WITH CHECK (tenant_id = (SELECT app.current_tenant()))', wanted, role);
END $$;
REVOKE ALL ON FUNCTION app.wall_in(regclass, name) FROM PUBLIC;
