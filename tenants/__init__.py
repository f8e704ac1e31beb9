"""Tenants and what they own: assistants, senders and tiers, API keys, secrets, switches, the audit trail."""
