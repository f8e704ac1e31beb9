import string
import time

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from runtime.database import Database
from runtime.redaction import redacted, redacted_id, redacted_trace
from tests.conftest import MakeTenant

NUMBERS = [
    "+19075550123",
    "907-555-0123",
    "(907) 555-0123",
    "+1 907 555 0123",
    "907.555.0123",
    "1-907-555-0123",
    "555 0123",
    "907\u00a0555\u00a00123",
    "907/5550123",
]
AROUND = st.text(string.ascii_letters + " ,;=<>{}[]|#\n", max_size=20)
VIOLATION = 'duplicate key value violates unique constraint "x"'
KEY = "trk_" + "Abc-dEf_" * 5


@pytest.mark.parametrize(
    ("given_text", "left"),
    [
        ("the job 17 failed after 3 tries", "the job 17 failed after 3 tries"),
        (f"{VIOLATION}\nDETAIL:  Key (phone)=(Bob) already exists.", "duplicate key value violates unique constraint [quoted]"),
        ("(asyncpg) oops\n[SQL: SELECT 1]\n[parameters: ('Bob',)]", "(asyncpg) oops"),
        ("invalid literal: 'Bob lives here'", "invalid literal: [quoted]"),
        ("can't read 'Bob's house' today", "can't read [quoted] today"),
        ("didn't understand \"my name isn't Bob\"", "didn't understand [quoted]"),
        ("an open quote 'and all after it", "an open quote [quoted]"),
        ("no answer from https://user:pw@example.com/path?to=1 today", "no answer from [address] today"),
        ("bob@example.com is unknown", "[address] is unknown"),
        (f"the key {KEY}.0 is refused", "the key [token] is refused"),
        ("account AC00000000000000000000000000000001 is closed", "account [token] is closed"),
        ("", ""),
    ],
)
def test_what_is_left_of_a_text(given_text: str, left: str) -> None:
    assert redacted(given_text) == left


@given(before=AROUND, number=st.sampled_from(NUMBERS), after=AROUND)
def test_no_phone_number_is_left_however_it_is_written(before: str, number: str, after: str) -> None:
    left = redacted(f"{before} {number} {after}")
    assert sum(character.isdigit() for character in left) == 0


@given(st.text(string.ascii_letters, min_size=1), st.sampled_from("'\""), st.text(string.printable))
def test_what_stands_in_quotes_is_gone(before: str, quote: str, secret: str) -> None:
    secret = f"canary{secret.replace(quote, '')}"
    assert "canary" not in redacted(f"{before}: {quote}{secret}{quote}")


@pytest.mark.parametrize("value", [None, 7, b"bytes", ["list"], ValueError("x")])
def test_what_is_no_text_is_nothing(value: object) -> None:
    assert redacted(value) == ""


def test_a_long_text_is_cut() -> None:
    assert len(redacted("ab " * 1_000_000)) == 500


@pytest.mark.parametrize("unit", ["a", "1", "'", '"', "a.", "a@", "@", "1 ", "(", "a'", "://", "/", "-", "trk_"])
def test_no_text_keeps_the_process_busy(unit: str) -> None:
    """Whoever calls may choose what an exception quotes."""
    began = time.process_time()
    redacted(unit * 100_000)
    assert time.process_time() - began < 0.05


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("01900000-0000-7000-8000-000000000001", "01900000-0000-7000-8000-000000000001"),
        ("0190000000007000800000000000000123"[:32], "01900000000070008000000000000001"),
        ("tool-calls", "tool-calls"),
        ("POST /vapi-webhook/{tenant_slug}", "POST /vapi-webhook/{tenant_slug}"),
        ("+19075550123", "[withheld]"),
        ("call-9075550123", "call-[number]"),
        ("Bob's call", "[withheld]"),
        ("x" * 201, "[withheld]"),
        (None, "None"),
    ],
)
def test_ids_that_somebody_else_chose(value: object, left: str) -> None:
    assert redacted_id(value) == left


async def test_the_trace_of_a_real_violation_names_the_place_and_no_value(database: Database, make_tenant: MakeTenant) -> None:
    tenant, phone = await make_tenant(), "+12025550142"
    statement = text("INSERT INTO opt_outs (tenant_id, recipient, source) VALUES (:tenant, :phone, 'api')")

    async def twice() -> None:
        async with database.tenant_scope(tenant) as connection:
            await connection.execute(statement, {"tenant": tenant, "phone": phone})
            await connection.execute(statement, {"tenant": tenant, "phone": phone})

    with pytest.raises(IntegrityError) as violated:
        await twice()
    assert isinstance(violated.value.driver_exception, asyncpg.UniqueViolationError)
    assert phone not in str(violated.value), "the engine keeps parameters out of its texts, row security keeps values out of the driver's"
    trace = redacted_trace(violated.value)
    assert phone[2:] not in trace
    assert str(tenant) not in trace
    assert "asyncpg.exceptions.UniqueViolationError: duplicate key value violates unique constraint [quoted]" in trace
    assert "test_redaction.py" in trace
    assert trace.index("UniqueViolationError: ") < trace.index("sqlalchemy.exc.IntegrityError: ")


def test_a_trace_holds_the_chain_the_group_and_no_source() -> None:
    def fail(kind: type[Exception], word: str) -> None:
        raise kind(f"{word} of 'Bob'")

    def fail_in_a_chain() -> None:
        try:
            fail(KeyError, "first")
        except KeyError:
            try:
                fail(LookupError, "second")
            except LookupError as second:
                raise ExceptionGroup("both", [second, ValueError("third")]) from second

    with pytest.raises(ExceptionGroup) as caught:
        fail_in_a_chain()
    trace = redacted_trace(caught.value)
    assert [line.partition(":")[0] for line in trace.splitlines() if not line.startswith(" ")] == [
        "KeyError",
        "LookupError",
        "ValueError",
        "ExceptionGroup",
    ]
    assert "Bob" not in trace
    assert "raise kind" not in trace


def test_a_ring_of_causes_ends() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert redacted_trace(one).count("ValueError") == 2
