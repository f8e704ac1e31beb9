DROP FUNCTION app.snapshot_policy_v1;
