DROP FUNCTION app.snapshot_learning_v1;
DROP FUNCTION app.take_due_v2;
DROP FUNCTION app.learn_day_cap_v1;
DROP FUNCTION app.carriers_day_end_v1;
DROP TABLE registration_holds;
