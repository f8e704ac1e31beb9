DROP FUNCTION app.accept_unchecked_v2, app.do_effects_v2, app.accept_v3, app.over_limit_v1, app.forget_text_refusals_v1, app.snapshot_text_policy_v1;
DROP TABLE text_refusals, text_policies;
