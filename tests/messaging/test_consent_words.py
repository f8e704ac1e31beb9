import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.consent_words import meaning

TWILIOS_WORDS = {
    "stop": ["STOP", "STOPALL", "UNSUBSCRIBE", "END", "QUIT", "CANCEL", "REVOKE", "OPTOUT"],
    "start": ["START", "YES", "UNSTOP"],
    "help": ["HELP", "INFO"],
}


@pytest.mark.parametrize(("asked", "word"), [(asked, word) for asked, words in TWILIOS_WORDS.items() for word in words])
@pytest.mark.parametrize("form", ["{}", "{}.", " {}! ", "\u201c{}\u201d", "{}\n", "({})", "please {}", "{} pls", "{} 🙏"])
def test_twilios_words_in_any_dress(asked: str, word: str, form: str) -> None:
    for said in (word, word.lower(), word.capitalize()):
        assert meaning(form.format(said)) == asked


@pytest.mark.parametrize(
    "text",
    [
        "stop please",
        "Please stop.",
        "Stop texting me",
        "STOP TEXTING ME NOW!!!",
        "stop all messages",
        "Stop sending me these texts",
        "unsubscribe me",
        "Unsubscribe me from this list, please",
        "I want to unsubscribe",
        "can you stop texting this number",
        "opt out",
        "Opt-out",
        "opt me out please",
        "I would like to opt out",
        "Don't text me",
        "don\u2019t text me anymore",
        "do not contact me again",
        "never text me again",
        "no more texts",
        "No more messages please",
        "remove me from your list",
        "remove my number",
        "Take me off this list",
        "leave me alone",
        "STOP. I never asked for this",
        "Wrong number! Stop texting me.",
        "Who is this? Stop.",
        "\uff33\uff34\uff2f\uff30",
        "I revoke",
        " Stop. ",
        "STOP STOP STOP",
        "STOP\u200b",
        "\u202astop\u202c",
        "\U0001f6d1",
        "\U0001f6d1 please",
        "Stop \U0001f621\U0001f621",
        "ARRET",
        "Arr\u00eat",
        "arre\u0302t",
        "remove",
        "Remove me please",
        "STOP to end",
        "stop to cancel",
        "stop to opt-out",
        "end texts",
        "quit texting me",
        "Cancel these messages please",
        "no, stop texting me",
        "No, stop.",
        "Yes, unsubscribe me",
        "STOP\n\nSent from my phone",
        "\uff35\uff4e\uff53\uff55\uff42\uff53\uff43\uff52\uff49\uff42\uff45",
    ],
)
def test_a_reasonable_request_to_stop(text: str) -> None:
    assert meaning(text) == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "don't stop texting me the details",
        "Don't stop",
        "don't opt me out",
        "do not remove my number",
        "please do not stop",
        "Don't forget to text me the address",
        "don't text me the details, call",
        "Can you stop by at five?",
        "which bus stop is it",
        "I will stop at the store first",
        "cancel my appointment",
        "please don't cancel my appointment",
        "Please don\u2019t cancel",
        "don't end it",
        "cancel my call",
        "please cancel the call for tomorrow",
        "I quit",
        "no, don't stop",
        "no stop",
        "yes, cancel it",
        "the message ends at noon",
        "call me at the end",
        "Alto",
        "stop by at noon \U0001f6d1",
        "remove the first one",
        "stopped by",
        "nonstop",
        "starting",
        "Please cancel the booking for Friday",
        "when does it end",
        "the end of the week works",
        "I quit my job",
        'Liked "Reply STOP to unsubscribe"',
        "Reply STOP to opt out",
        "if I text stop do you stop?",
        "remove the tooth on Friday",
        "yes I will be there",
        "Yes, 5 pm works",
        "start time?",
        "I need help with my booking",
        "more info on the price please",
        "no",
        "",
        "👍",
        "...",
        "please",
    ],
)
def test_an_ordinary_answer(text: str) -> None:
    assert meaning(text) is None


@given(st.text(max_size=200))
def test_any_text_has_a_meaning_or_none(text: str) -> None:
    assert meaning(text) in {"stop", "start", "help", None}
