-- The dispatcher's fast lane.
ALTER TABLE control.schedule
  ADD COLUMN owed_until timestamptz NOT NULL DEFAULT '-infinity',  -- when what was granted so far is paid off: told to a Redis that forgot
  ADD COLUMN turns integer NOT NULL DEFAULT 0;                     -- picks so far: every so often a lower class goes first
