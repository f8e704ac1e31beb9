DROP FUNCTION app.snapshot_tiers_v1, app.day_caps_v1, app.day_cap_of_v1, app.tier_uses_v1, app.look_again_v1, app.settle_registrations_v1, app.tier_rate_v1;
UPDATE registrations SET tier_source = 'operator' WHERE tier_source = 'override';
ALTER TABLE registrations
  DROP COLUMN claimed_tier, DROP COLUMN claimed_source, DROP COLUMN override_per_minute, DROP COLUMN override_day_cap, DROP COLUMN override_note,
  DROP CONSTRAINT registrations_tier_source_check,
  ADD CONSTRAINT registrations_tier_source_check CHECK (tier_source IN ('tenant', 'operator', 'capped'));
DROP TABLE control.tiers;
