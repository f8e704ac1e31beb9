-- Messages that come many times in a call are no rows of their own: of each type the first and the last time is kept, by the messages'
-- own clock. Order and repetition make no difference.
CREATE TABLE call_activity (
  tenant_id uuid NOT NULL,
  call_id text NOT NULL,
  type text NOT NULL,
  first_at timestamptz NOT NULL,
  last_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, call_id, type)
);
SELECT app.wall_in('call_activity', '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON call_activity TO {app};

-- p_seen: [{call_id, type, first_at, last_at}], each call and type once. In their order, so that two processes wait for each other in
-- one direction only. What says nothing new writes nothing. A call that nobody spoke of yet gets its row; its assistant is told in it with
-- the lowest standing, as app.note_calls_v2 tells what tool calls named.
CREATE FUNCTION app.note_activity_v1(p_tenant uuid, p_seen jsonb) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM set_config('app.tenant_id', p_tenant::text, true);
  INSERT INTO call_activity AS a (tenant_id, call_id, type, first_at, last_at)
  SELECT p_tenant, s.call_id, s.type, s.first_at, s.last_at
  FROM jsonb_to_recordset(p_seen) AS s(call_id text, type text, first_at timestamptz, last_at timestamptz)
  ORDER BY s.call_id, s.type
  ON CONFLICT (tenant_id, call_id, type) DO UPDATE
  SET first_at = least(a.first_at, excluded.first_at), last_at = greatest(a.last_at, excluded.last_at)
  WHERE excluded.first_at < a.first_at OR excluded.last_at > a.last_at;
  INSERT INTO calls AS c (tenant_id, call_id, assistant_id, state, state_rank, told, created_at, updated_at)
  SELECT p_tenant, h.call_id, h.assistant_id, 'unknown', 5, h.told, app.now(), app.now() FROM (
    SELECT s.call_id, max(s.assistant_id COLLATE "C") AS assistant_id,
           jsonb_strip_nulls(jsonb_build_object('assistant_id', '1' || max(s.assistant_id COLLATE "C"))) AS told
    FROM jsonb_to_recordset(p_seen) AS s(call_id text, assistant_id text)
    GROUP BY s.call_id) AS h
  LEFT JOIN calls AS k ON k.tenant_id = p_tenant AND k.call_id = h.call_id
  WHERE k.call_id IS NULL OR app.call_fields_won_v1(k, h.told->>'assistant_id', h.told) <> '{}'
  ORDER BY h.call_id
  ON CONFLICT (tenant_id, call_id) DO UPDATE SET assistant_id = excluded.assistant_id, told = c.told || excluded.told
  WHERE app.call_fields_won_v1(c, excluded.told->>'assistant_id', excluded.told) <> '{}';
END $$;
GRANT EXECUTE ON FUNCTION app.note_activity_v1 TO {app};
