DROP FUNCTION app.key_counts_v1;
