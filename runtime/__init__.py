"""What every room stands on: settings, database and tenant scope, Redis, clock, crypto, logs, Sentry, metrics."""
