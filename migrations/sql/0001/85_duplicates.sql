-- Duplicates are counted in Redis and folded in once a minute. A batch has an id, kept with the counts it changed, so that a
-- crash after the commit does not count it twice.

CREATE TABLE control.folds (
  tenant_id uuid PRIMARY KEY,
  fold_id uuid NOT NULL
);
COMMENT ON TABLE control.folds IS 'The last batch of duplicates folded into each tenant''s webhooks: only that one may be offered again.';
GRANT SELECT, INSERT, UPDATE, DELETE ON control.folds TO {app};

-- p_counts: {key as hex: times}. False: this batch was folded before.
CREATE FUNCTION app.fold_duplicates_v1(p_tenant uuid, p_fold uuid, p_counts jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  INSERT INTO control.folds AS f (tenant_id, fold_id) VALUES (p_tenant, p_fold)
  ON CONFLICT (tenant_id) DO UPDATE SET fold_id = excluded.fold_id WHERE f.fold_id <> excluded.fold_id;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  UPDATE processed_webhooks AS p SET duplicates = p.duplicates + c.times
  FROM (SELECT decode(x.key, 'hex') AS key, x.value::integer AS times FROM jsonb_each_text(p_counts) AS x(key, value) ORDER BY x.key) AS c
  WHERE p.tenant_id = p_tenant AND p.key = c.key;
  RETURN true;
END $$;
GRANT EXECUTE ON FUNCTION app.fold_duplicates_v1 TO {app};
