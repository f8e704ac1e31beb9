DROP FUNCTION app.record_outcomes_v2, app.record_outcome_v2;
