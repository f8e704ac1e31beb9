DROP FUNCTION app.rate_now_v1, app.at_once_v1, app.learn_v1;
DROP TABLE learned_rates, learned_concurrency;
ALTER TABLE registration_holds DROP COLUMN reason, DROP COLUMN code, DROP COLUMN strikes;
