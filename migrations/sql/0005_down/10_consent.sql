-- The release before knows no opt-outs of one sender: they become the tenant's.
INSERT INTO opt_outs (tenant_id, recipient, source)
SELECT DISTINCT ON (o.tenant_id, o.recipient) o.tenant_id, o.recipient, o.source FROM sender_opt_outs AS o
ORDER BY o.tenant_id, o.recipient, o.source <> 'api'
ON CONFLICT (tenant_id, recipient) DO NOTHING;
DROP FUNCTION app.set_stop_covers_v1, app.resume_v1, app.suppress_v1, app.stop_covers_v1;
DROP TABLE consent_settings, sender_opt_outs;
