DROP FUNCTION app.accept_v2, app.accept_unchecked_v1, app.do_effects_v1, app.record_call_v2, app.bury_v1;
