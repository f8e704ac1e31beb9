-- Who asked one sender not to be texted (its number, or the pool of its Messaging Service); opt_outs holds who asked the tenant.
CREATE TABLE sender_opt_outs (
  tenant_id uuid NOT NULL,
  recipient text NOT NULL,
  sender_id uuid NOT NULL,
  source text NOT NULL CHECK (source IN ('inbound', 'twilio', 'api')),
  created_at timestamptz NOT NULL DEFAULT app.now(),
  PRIMARY KEY (tenant_id, recipient, sender_id)
);
SELECT app.wall_in('sender_opt_outs'::regclass, '{role}');
GRANT SELECT, INSERT, UPDATE, DELETE ON sender_opt_outs TO {app};
