"""Dates and times as people say them on the phone, in American English, resolved in a tenant's zone."""
