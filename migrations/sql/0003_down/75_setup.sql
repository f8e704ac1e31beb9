ALTER TABLE assistants
  DROP COLUMN vapi_owner, DROP COLUMN vapi_lease_until, DROP COLUMN vapi_before_sealed, DROP COLUMN vapi_draft_of, DROP COLUMN vapi_configured_at,
  DROP COLUMN unanswered;
