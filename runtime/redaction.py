"""Text without private values: what an exception or a library said, as it may stand in a log line or in an event for Sentry."""

import re
import traceback
from collections.abc import Iterator

MOST_CHARACTERS, MOST_READ = 500, 4_000
ROW_VALUES = ("DETAIL:", "[SQL:", "[parameters:")  # PostgreSQL and SQLAlchemy print values from here on
QUOTED = re.compile(r"(?<!\w)(['\"]).*?(?:\1(?!\w)|\Z)", re.DOTALL)  # one that is not closed takes the rest with it
# tried at the beginning of a word only: whoever sends a word of thousands of letters must not keep the loop busy
ADDRESS = re.compile(r"(?<![\w+.-])\w[\w+.-]*://\S+|(?<!\S)\S+@\S+")
TOKEN = re.compile(r"(?:trk_|whs_)\S+|(?<![\w+/=-])(?=[\w+/=-]*\d)[\w+/=-]{20,}")
LONG_NUMBER = re.compile(r"\+?\(?\d(?:[\s().\u2010-\u2015/-]*\d){6,}")
PHONE_NUMBER = re.compile(r"\+\d{7,15}\b")
UUID_SHAPED = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
IDENTIFIER = re.compile(r"[\w.:/{} -]{0,200}")


def redacted(text: object, most: int = MOST_CHARACTERS) -> str:
    """Free text without row values, quoted values, addresses, tokens and long numbers; what is no text is nothing."""
    if not isinstance(text, str):
        return ""
    text = text[:MOST_READ]
    for mark in ROW_VALUES:
        text = text.split(mark)[0]
    for pattern, word in ((QUOTED, "[quoted]"), (ADDRESS, "[address]"), (TOKEN, "[token]"), (LONG_NUMBER, "[number]")):
        text = pattern.sub(word, text)
    return text.strip()[:most]


def redacted_id(value: object) -> str:
    """An id that somebody else chose: kept if it looks like one, and never with a phone number in it."""
    text = str(value)
    if UUID_SHAPED.fullmatch(text):
        return text
    return LONG_NUMBER.sub("[number]", text) if IDENTIFIER.fullmatch(text) else "[withheld]"


def redacted_trace(error: BaseException) -> str:
    """The exceptions that led to this one and where each was raised: redacted texts, no source lines, no values."""
    return "\n".join(line for each in causes(error) for line in (summary(each), *places(each)))


def summary(error: BaseException) -> str:
    """The exception's type and redacted text."""
    return f"{type(error).__module__}.{type(error).__qualname__}: {redacted(str(error))}".removeprefix("builtins.")


def places(error: BaseException) -> Iterator[str]:
    """The frames of an exception, the innermost last."""
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"  {frame.filename}:{frame.lineno} in {frame.name}"


def causes(error: BaseException | None) -> list[BaseException]:
    """The chain of an exception, the first cause first; a group's members come before the group."""
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        if isinstance(error, BaseExceptionGroup):
            chain.extend(reversed([cause for member in error.exceptions for cause in causes(member) if cause not in chain]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return chain[::-1]
