-- Who opted out on the phone stays opted out.
DROP FUNCTION app.act_v1, app.opt_out_v1, app.cancel_newest_v1;
UPDATE opt_outs SET source = 'api' WHERE source = 'call';
ALTER TABLE opt_outs
  DROP CONSTRAINT opt_outs_source_check,
  ADD CONSTRAINT opt_outs_source_check CHECK (source IN ('inbound', 'twilio', 'api'));
ALTER TABLE http_tools DROP COLUMN parameters;
