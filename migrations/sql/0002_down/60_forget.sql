DROP FUNCTION app.forgettable_v1, app.forget_keys_v1, app.first_id_at, app.key_is_over, app.keys_hours_v1;
ALTER TABLE processed_webhooks RESET (
  autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_insert_scale_factor, autovacuum_analyze_scale_factor,
  autovacuum_vacuum_cost_limit);
