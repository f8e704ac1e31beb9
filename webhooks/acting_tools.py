"""The tools that change what is there already: cancelling a text, and asking for no more of them.

Whom they are about is the caller as the webhook names him, never an argument: a model can be talked into any number.
"""

from typing import Any, Literal

from messaging import recipients
from tenants.snapshot import Snapshot
from webhooks.prepared import Act, Prepared, Said, Speaking

ANOTHER = "Another text to this caller is still waiting; call this again to cancel that one too."
CANCELED = {
    "canceled": Said(result="Cancelled: the text will not be sent."),
    "canceled_more": Said(result=f"Cancelled: the text will not be sent. {ANOTHER}"),
    "again": Said(result="The text was cancelled a moment ago already."),
    "again_more": Said(result=f"A text was cancelled a moment ago already. {ANOTHER}"),
    "left": Said(error="Nothing was cancelled: the text has left already, or is leaving just now."),
    "failed": Said(error="Nothing was cancelled: the text could not be delivered."),
    "gone": Said(error="Nothing was cancelled: the text was cancelled before."),
    "none": Said(error="Nothing was cancelled: in this call no text to this caller was accepted."),
}
NO_MORE = "This person gets no more texts from this business."
LEAVING = "One that is on its way already may still arrive."
STOPPED = {
    "stopped": Said(result=NO_MORE),
    "stopped_canceled": Said(result=f"{NO_MORE} What was waiting for them was cancelled."),
    "stopped_leaving": Said(result=f"{NO_MORE} {LEAVING}"),
    "stopped_canceled_leaving": Said(result=f"{NO_MORE} What was waiting for them was cancelled. {LEAVING}"),
}


def cancel_sms(_tenant: Snapshot, speaking: Speaking, _given: dict[str, Any]) -> Prepared:
    """`cancel_sms {}`: cancel the newest text of this call to the caller that has not begun to leave."""
    if speaking.call_id is None:
        return Prepared(error="Nothing was cancelled: this is no phone call, so it is not known which text is meant.")
    return about_caller("cancel_sms", speaking, CANCELED)


def opt_out(_tenant: Snapshot, speaking: Speaking, _given: dict[str, Any]) -> Prepared:
    """`opt_out {}`: the caller is texted no more by this tenant."""
    return about_caller("opt_out", speaking, STOPPED)


def about_caller(kind: Literal["cancel_sms", "opt_out"], speaking: Speaking, says: dict[str, Said]) -> Prepared:
    """Something about the person on the phone, known by the number that texts to them carry."""
    try:
        recipient = recipients.parse(speaking.caller or "", "US")
    except recipients.BadNumber:
        return Prepared(error="Nothing was done: the number of the caller is not known.")
    return Prepared(act=Act(kind, recipient.e164, says))
