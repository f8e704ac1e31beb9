DROP FUNCTION app.drop_body_day_v1, app.make_body_days_v1, app.body_days_ahead_v1, app.body_days_v1, app.body_day_is_over, app.body_day_name, app.today;
DROP TABLE webhook_bodies;
