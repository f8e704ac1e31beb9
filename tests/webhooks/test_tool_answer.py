"""What a tool answered, as one line: every shape, and never a page, a line break or more than a voice can say."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.tool_answer import LONGEST_LINE, NOTHING_TO_SAY, Reply, done, named, refused

JSON, TEXT, HTML = "application/json", "text/plain", "text/html"
PAGE = "<!DOCTYPE html><html><body><h1>It works</h1></body></html>"

DONE = {
    "a JSON string": (JSON, '"Booked."', "Booked."),
    "result": (JSON, '{"result": "Booked."}', "Booked."),
    "message": (JSON, '{"message": "Booked.", "id": 7}', "Booked."),
    "text": (JSON, '{"text": "Booked."}', "Booked."),
    "result comes first": (JSON, '{"text": "no", "message": "no", "result": "Booked."}', "Booked."),
    "an empty result is passed over": (JSON, '{"result": "", "message": "Booked."}', "Booked."),
    "a result that is no text": (JSON, '{"result": {"slot": 9}}', '{"result":{"slot":9}}'),
    "Vapi's form": (JSON, '{"results": [{"toolCallId": "t1", "result": "Booked."}]}', "Booked."),
    "Vapi's form, ours among several": (
        JSON,
        '{"results": [{"toolCallId": "t0", "result": "no"}, {"toolCallId": "t1", "result": "Booked."}]}',
        "Booked.",
    ),
    "Vapi's form, another id": (JSON, '{"results": [{"toolCallId": "x", "result": "Booked."}]}', "Booked."),
    "Vapi's form with an object": (JSON, '{"results": [{"toolCallId": "t1", "result": {"slot": 9}}]}', '{"slot":9}'),
    "Vapi's form without anything": (JSON, '{"results": [{"toolCallId": "t1", "result": null}]}', NOTHING_TO_SAY),
    "a list of search results is no such form": (JSON, '{"results": [1, 2]}', '{"results":[1,2]}'),
    "other JSON": (JSON, '{"slots": [9, 10],\n "open": true}', '{"slots":[9,10],"open":true}'),
    "a list": (JSON, "[1,  2]", "[1,2]"),
    "a number": (JSON, "7", "7"),
    "null": (JSON, "null", NOTHING_TO_SAY),
    "an empty object": (JSON, "{}", NOTHING_TO_SAY),
    "nothing": (JSON, "", NOTHING_TO_SAY),
    "an error that is none": (JSON, '{"error": null, "result": "Booked."}', "Booked."),
    "text of lines": (TEXT, "Booked\r\nfor\t nine \u2028 o'clock\n", "Booked for nine o'clock"),
    "JSON by another name": (TEXT, '{"result": "Booked."}', "Booked."),
    "JSON by the name of a page": (HTML, '{"result": "Booked."}', "Booked."),
    "text by the name of JSON": (JSON, "Booked.", "Booked."),
    "broken JSON": (JSON, '{"result": "Bo', '{"result": "Bo'),
    "a page": (HTML, PAGE, NOTHING_TO_SAY),
    "a page by another name": (TEXT, "\n " + PAGE, NOTHING_TO_SAY),
    "a page in a field": (JSON, json.dumps({"message": "Booked.\x00\x1b[0m"}), "Booked.[0m"),
    "XML": ("application/xml", "<ok/>", NOTHING_TO_SAY),
}


@pytest.mark.parametrize(("kind", "body", "line"), DONE.values(), ids=DONE)
def test_a_2xx_becomes_one_line(kind: str, body: str, line: str) -> None:
    outcome = done(Reply(200, kind, body), "book_table", "t1")
    assert (outcome.kind, outcome.text, outcome.status) == ("done", line, 200)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('{"error": "The slot is taken."}', "The slot is taken."),
        ('{"error": {"message": "The slot is taken."}}', "The slot is taken."),
        ('{"error": "slot_taken", "message": "The slot is taken."}', "The slot is taken."),
        ('{"results": [{"toolCallId": "t1", "error": "The slot is taken."}]}', "The slot is taken."),
        ('{"error": true}', "The book table tool refused this."),
    ],
)
def test_a_2xx_that_says_it_failed_is_a_refusal(body: str, line: str) -> None:
    outcome = done(Reply(200, JSON, body), "book_table", "t1")
    assert (outcome.kind, outcome.text) == ("refused", line)


OURS = "The book table tool refused this, so nothing was done (status 422)."


@pytest.mark.parametrize(
    ("kind", "body", "line"),
    [
        (JSON, '{"error": "The slot\\nis taken."}', "The slot is taken."),
        (JSON, '{"message": "The slot is taken.", "error": "Bad Request"}', "The slot is taken."),
        (JSON, '{"title": "x", "detail": "The slot is taken."}', "The slot is taken."),
        (JSON, '{"error": {"code": 7, "message": "The slot is taken."}}', "The slot is taken."),
        (JSON, '{"results": [{"toolCallId": "t1", "error": "The slot is taken."}]}', "The slot is taken."),
        (JSON, json.dumps({"error": "x" * 301}), OURS),
        (JSON, json.dumps({"error": PAGE}), OURS),
        (JSON, '{"error": 7}', OURS),
        (JSON, '["The slot is taken."]', OURS),
        (HTML, PAGE, OURS),
        (TEXT, "Traceback (most recent call last): ...", OURS),
        (JSON, "", OURS),
    ],
)
def test_a_4xx_is_told_in_its_own_short_words(kind: str, body: str, line: str) -> None:
    outcome = refused(Reply(422, kind, body), "book_table", "t1")
    assert (outcome.kind, outcome.text, outcome.status) == ("refused", line, 422)


@given(st.text() | st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5).map(json.dumps))
def test_whatever_comes_is_one_line_that_can_be_stored(body: str) -> None:
    for outcome in (done(Reply(200, TEXT, body), "x", None), refused(Reply(400, TEXT, body), "x", None)):
        assert 0 < len(outcome.text) <= LONGEST_LINE
        assert outcome.text.splitlines() == [outcome.text]
        assert outcome.text == outcome.text.encode().decode()
        assert "\x00" not in outcome.text


def test_a_long_answer_is_cut() -> None:
    outcome = done(Reply(200, TEXT, "word " * 1_000), "x", None)
    assert (len(outcome.text), outcome.text[-1]) == (LONGEST_LINE, "…")


def test_a_tool_is_named_as_people_say_it() -> None:
    assert [named(name) for name in ("booking", "book_table", "check-in--out", "_")] == [
        "The booking tool",
        "The book table tool",
        "The check in out tool",
        "The tool",
    ]
