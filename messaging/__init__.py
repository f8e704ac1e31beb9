"""Texting people within the rules: segments, recipients, consent, pacing, Twilio and what it answers."""
