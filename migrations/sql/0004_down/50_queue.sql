DROP FUNCTION app.queue_totals_v1, app.queue_statistics_v1;
