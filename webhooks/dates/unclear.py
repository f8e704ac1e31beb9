"""A phrase that cannot be resolved."""

HOW_TO_ASK = 'Ask for one day and one time, such as "next Tuesday at 3 PM" or "March 14 at 9:30 AM".'


class BadPhrase(ValueError):
    """It is past, ambiguous or not understood; the message is one line fit to be spoken, which says how to go on."""


def not_understood() -> BadPhrase:
    """What has no reading."""
    return BadPhrase(f"That date was not understood. {HOW_TO_ASK}")
