"""What tenants owe: meters, the ledger of usage events, plans, subscriptions, rating and invoices."""
