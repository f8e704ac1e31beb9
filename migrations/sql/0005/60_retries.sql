-- How long a text is worth sending, and how often it was sent again after a failure that Twilio reported later.
ALTER TABLE messages
  ADD COLUMN expires_at timestamptz,                 -- not sent any more after this; null: accepted by the release before
  ADD COLUMN retries smallint NOT NULL DEFAULT 0;
