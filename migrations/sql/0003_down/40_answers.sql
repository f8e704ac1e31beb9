DROP FUNCTION app.snapshot_answers_v1;
DROP TABLE inbound_routes, transfer_directory, answerers;
