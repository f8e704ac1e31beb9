-- Bodies that are kept: by how long, then by day, so that a day leaves whole and its space is back at once.
CREATE TABLE webhook_bodies (
  tenant_id uuid NOT NULL,
  webhook_id uuid NOT NULL,
  kept_days smallint NOT NULL CHECK (kept_days IN (7, 30, 90)),
  kept_on date NOT NULL,                        -- in UTC
  body bytea NOT NULL,                          -- redacted JSON, zlib
  PRIMARY KEY (tenant_id, webhook_id, kept_days, kept_on)
) PARTITION BY LIST (kept_days);
CREATE TABLE webhook_bodies_7 PARTITION OF webhook_bodies FOR VALUES IN (7) PARTITION BY RANGE (kept_on);
CREATE TABLE webhook_bodies_30 PARTITION OF webhook_bodies FOR VALUES IN (30) PARTITION BY RANGE (kept_on);
CREATE TABLE webhook_bodies_90 PARTITION OF webhook_bodies FOR VALUES IN (90) PARTITION BY RANGE (kept_on);

-- zlib has been over it: the server's own compression would try again in vain
ALTER TABLE webhook_bodies_7 ALTER body SET STORAGE EXTERNAL;
ALTER TABLE webhook_bodies_30 ALTER body SET STORAGE EXTERNAL;
ALTER TABLE webhook_bodies_90 ALTER body SET STORAGE EXTERNAL;

-- The wall stands on the parent. A partition carries no right of its own, so nobody but the owner reaches one around it.
SELECT app.wall_in('webhook_bodies'::regclass, '{role}');
GRANT SELECT, INSERT, DELETE ON webhook_bodies TO {app};  -- what was kept is never changed

CREATE FUNCTION app.today() RETURNS date LANGUAGE sql VOLATILE PARALLEL SAFE AS
$$SELECT (app.now() AT TIME ZONE 'UTC')::date$$;

-- The name of a day's partition is the only place where class and day stand together.
CREATE FUNCTION app.body_day_name(p_class integer, p_day date) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
$$SELECT 'webhook_bodies_' || p_class || '_' || to_char(p_day, 'YYYYMMDD')$$;

-- A day may go when its last body was kept for the whole of its class: p_class full days after the end of p_day.
CREATE FUNCTION app.body_day_is_over(p_class integer, p_day date) RETURNS boolean LANGUAGE sql VOLATILE PARALLEL SAFE AS
$$SELECT p_day + p_class < app.today()$$;

-- Every day there is, with what it takes on disk, its index and TOAST included.
CREATE FUNCTION app.body_days_v1() RETURNS TABLE (kept_days integer, kept_on date, bytes bigint, is_over boolean) LANGUAGE sql VOLATILE AS $$
  SELECT d.kept_days, d.kept_on, d.bytes, app.body_day_is_over(d.kept_days, d.kept_on) FROM (
    SELECT m.part[1]::integer AS kept_days, to_date(m.part[2], 'YYYYMMDD') AS kept_on, pg_total_relation_size(c.oid) AS bytes
    FROM unnest(ARRAY['webhook_bodies_7', 'webhook_bodies_30', 'webhook_bodies_90']) AS p(parent)
    JOIN pg_inherits AS i ON i.inhparent = to_regclass('public.' || p.parent)
    JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN LATERAL regexp_matches(c.relname, '^webhook_bodies_(\d+)_(\d{8})$') AS m(part)) AS d
  ORDER BY d.kept_on, d.kept_days
$$;

-- How many days there are from today on without a gap, for all classes; 0: today itself is missing. Cheap: readiness asks.
CREATE FUNCTION app.body_days_ahead_v1() RETURNS integer LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(min(n), 32) FROM (
    SELECT n FROM generate_series(0, 31) AS n, unnest(ARRAY[7, 30, 90]) AS class, app.today() AS t
    WHERE to_regclass('public.' || app.body_day_name(class, t + n)) IS NULL) AS missing
$$;

-- SECURITY DEFINER: a partition is made by the owner of its table. Callers choose a number only, bounded here; names are composed from
-- constants and days; the search path holds nothing that the application's role could write to.
-- Making beside and attaching takes SHARE UPDATE EXCLUSIVE on the class, which no insert waits for; CREATE … PARTITION OF would take
-- ACCESS EXCLUSIVE. Answers how many days were made. Two at once: the second one waits, then finds nothing to do.
CREATE FUNCTION app.make_body_days_v1(p_days_ahead integer DEFAULT 7) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  v_today date;
  v_class integer;
  v_day date;
  v_name text;
  v_made integer := 0;
BEGIN
  IF p_days_ahead IS NULL OR p_days_ahead NOT BETWEEN 0 AND 31 THEN
    RAISE EXCEPTION 'body days are made 0 to 31 days ahead' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  PERFORM pg_advisory_xact_lock(7270002);
  v_today := app.today();
  FOREACH v_class IN ARRAY ARRAY[7, 30, 90] LOOP
    FOR v_day IN SELECT v_today + n FROM generate_series(0, p_days_ahead) AS n LOOP
      v_name := app.body_day_name(v_class, v_day);
      CONTINUE WHEN to_regclass('public.' || v_name) IS NOT NULL;
      EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING ALL)', v_name, 'webhook_bodies_' || v_class);
      EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
                     'webhook_bodies_' || v_class, v_name, v_day, v_day + 1);
      v_made := v_made + 1;
    END LOOP;
  END LOOP;
  RETURN v_made;
END $$;

-- SECURITY DEFINER: a partition is dropped by the owner of its table. It refuses every day that is not over, by the database's clock, so
-- that whoever may call it can delete nothing that is to be kept. It waits at most 50 ms for its locks (55P03: call again later), since
-- whoever keeps a body waits behind it. Answers the bytes that are free now; null: there is no such day.
CREATE FUNCTION app.drop_body_day_v1(p_class integer, p_day date) RETURNS bigint LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
DECLARE
  v_bytes bigint;
  v_part regclass;
BEGIN
  IF p_class IS NULL OR p_day IS NULL OR p_class NOT IN (7, 30, 90) OR NOT app.body_day_is_over(p_class, p_day) THEN
    RAISE EXCEPTION 'this day of bodies is not over' USING ERRCODE = 'invalid_parameter_value';
  END IF;
  v_part := to_regclass('public.' || app.body_day_name(p_class, p_day));
  IF v_part IS NULL THEN
    RETURN NULL;
  END IF;
  -- DROP locks the class before the day, as an insert does, so the two cannot wait for each other in a ring
  v_bytes := pg_total_relation_size(v_part);
  EXECUTE format('DROP TABLE %s', v_part);
  RETURN v_bytes;
END $$;

REVOKE ALL ON FUNCTION app.make_body_days_v1, app.drop_body_day_v1 FROM PUBLIC;
GRANT EXECUTE ON FUNCTION app.today, app.body_day_name, app.body_day_is_over, app.body_days_v1, app.body_days_ahead_v1, app.make_body_days_v1,
  app.drop_body_day_v1 TO {app};

SELECT app.make_body_days_v1(7);
