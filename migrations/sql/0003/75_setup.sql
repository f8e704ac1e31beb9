-- What Trunkline did to an assistant at Vapi, so that it can be undone and is never done by two at once.
ALTER TABLE assistants
  ADD COLUMN vapi_owner uuid,                   -- who is asking Vapi about it now; with the lease the fence
  ADD COLUMN vapi_lease_until timestamptz,      -- on the database's clock; whoever died leaves it to the next when it is over
  ADD COLUMN vapi_before_sealed text,           -- what stood at Vapi before the first change; its headers may hold secrets
  ADD COLUMN vapi_draft_of text,                -- the version that stayed live when a change of ours became a draft
  ADD COLUMN vapi_configured_at timestamptz,    -- when Vapi last showed what we had asked for
  ADD COLUMN unanswered boolean NOT NULL DEFAULT false; -- registered, but nobody was told so yet: its secret is unknown to its tenant
