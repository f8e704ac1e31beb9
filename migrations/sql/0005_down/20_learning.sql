DROP FUNCTION app.snapshot_learning_v2, app.close_circuit_v1, app.learn_v1, app.teach_v1, app.hold_registration_v1;
DROP FUNCTION app.rate_now_v1, app.at_once_v1, app.rate_after_v1, app.at_once_after_v1;
DROP TABLE learned_rates, learned_concurrency;
ALTER TABLE registration_holds DROP COLUMN reason, DROP COLUMN code, DROP COLUMN action, DROP COLUMN strikes;
