DROP FUNCTION app.snapshot_learning_v1;
