DROP FUNCTION app.snapshot_privacy_v1, app.record_call_v3, app.record_late_call_v2, app.note_calls_v2, app.forget_kept_v1,
  app.forget_contents_v1, app.forgotten_since_v1, app.forget_call_v1,
  app.tell_call_v1, app.bill_call_v1, app.call_fields_won_v1;
ALTER TABLE control.tenants DROP COLUMN privacy, DROP COLUMN forget_from;
DROP TABLE call_contents;
DROP INDEX calls_state_idx, calls_assistant_idx, calls_forgotten_idx;
ALTER TABLE calls DROP COLUMN told, DROP COLUMN phone_number_id, DROP COLUMN call_type, DROP COLUMN customer_masked, DROP COLUMN customer_sealed,
  DROP COLUMN forgotten_at, DROP COLUMN corrections;
