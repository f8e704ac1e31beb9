DROP FUNCTION app.claim_run_v1, app.same_thing_v1, app.renew_run_v1, app.finish_run_v1;
