DROP FUNCTION app.note_calls_v1, app.take_unreported_calls_v1, app.record_late_call_v1, app.ask_again_v1;
