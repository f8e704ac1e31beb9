"""Routes by audience."""
