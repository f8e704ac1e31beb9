DROP FUNCTION app.take_unpriced_v1, app.settle_prices_v1;
ALTER TABLE messages DROP COLUMN price_due;
