DROP FUNCTION app.snapshot_waiting_v1, app.due_of_class_v1, app.drop_marketing_v1;
DROP TABLE control.queue_bounds;
