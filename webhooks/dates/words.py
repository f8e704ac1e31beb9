"""What was said, in a form that patterns can read: lower case, numbers as digits, nothing that only belongs to speech."""

import re
import unicodedata

LONGEST = 200


def listed(words: str) -> list[str]:
    """Words with spaces between them."""
    return words.split()


UNITS = listed(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
NUMBERS = {word: number for number, word in enumerate(UNITS)} | TENS
NTHS = listed(
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth"
    " seventeenth eighteenth nineteenth twentieth"
)
ORDINALS = {word: number for number, word in enumerate(NTHS, start=1)} | {"thirtieth": 30}

MONTH_NAMES = listed("january february march april may june july august september october november december")
DAY_NAMES = listed("monday tuesday wednesday thursday friday saturday sunday")
MONTHS = (
    {name: number for number, name in enumerate(MONTH_NAMES, start=1)}
    | {name[:3]: number for number, name in enumerate(MONTH_NAMES, start=1)}
    | {"sept": 9}
)
WEEKDAYS = (
    {name: number for number, name in enumerate(DAY_NAMES)}
    | {name[:3]: number for number, name in enumerate(DAY_NAMES)}
    | {"tues": 1, "weds": 2, "thur": 3, "thurs": 3}
)
MONTH = rf"(?P<month>{'|'.join(sorted(MONTHS, key=len, reverse=True))})"
WEEKDAY = rf"(?P<weekday>{'|'.join(sorted(WEEKDAYS, key=len, reverse=True))})"

# said without changing what is meant
FILLERS = frozenset(
    listed(
        "on at the for please around about approximately exactly sharp um uh ok okay so well yes it is its be would like lets say do how"
        " make id i we maybe perhaps"
    )
)

APOSTROPHES = re.compile(r"['\u2019\u2018`]")
HALF_OF_DAY = re.compile(r"\b([ap])\.? ?m\b\.?")
HOURS_WITH_A_DOT = re.compile(r"\b(\d{1,2})\.(\d{2})\b")
PUNCTUATION = re.compile(r"[^\w\s:/.+-]|_|(?<!\d)[./+:-]|[./+:-](?!\d)")


def plain(phrase: str) -> str:
    """The phrase in lower case, with numbers as digits (`25`), ordinals as `25th`, spoken clock times as `3:30`."""
    folded = APOSTROPHES.sub("", unicodedata.normalize("NFKC", phrase).casefold())
    folded = HOURS_WITH_A_DOT.sub(r"\1:\2", HALF_OF_DAY.sub(r"\1m", folded))
    return " ".join(digits(PUNCTUATION.sub(" ", folded).split()))


def digits(words: list[str]) -> list[str]:
    """The words with numbers as digits."""
    found: list[str] = []
    place = 0
    while place < len(words):
        made, used = spoken_clock(words, place) or spoken_number(words, place) or (words[place], 1)
        found.append(made)
        place += used
    return found


def spoken_clock(words: list[str], place: int) -> tuple[str, int] | None:
    """An hour and minutes in words, "three thirty", "three oh five"; after a month the first of them is a day."""
    hour = NUMBERS.get(words[place], 0)
    if not 1 <= hour <= 12 or place + 1 >= len(words) or (place and words[place - 1] in MONTHS):  # noqa: PLR2004  hours of the dial
        return None
    if words[place + 1] in ("oh", "o") and place + 2 < len(words) and 1 <= NUMBERS.get(words[place + 2], 0) <= 9:  # noqa: PLR2004
        return f"{hour}:0{NUMBERS[words[place + 2]]}", 3
    number = spoken_number(words, place + 1)
    if number is None or not number[0].isdecimal() or not 10 <= int(number[0]) <= 59:  # noqa: PLR2004  minutes
        return None
    return f"{hour}:{number[0]}", 1 + number[1]


def spoken_number(words: list[str], place: int) -> tuple[str, int] | None:
    """A number in words: "twenty five", "twenty-fifth"."""
    word, following = words[place], words[place + 1] if place + 1 < len(words) else ""
    if word in TENS and 1 <= NUMBERS.get(following, 0) <= 9:  # noqa: PLR2004  what follows a ten
        return str(TENS[word] + NUMBERS[following]), 2
    if word in TENS and 1 <= ORDINALS.get(following, 0) <= 9:  # noqa: PLR2004
        return f"{TENS[word] + ORDINALS[following]}th", 2
    if word in NUMBERS:
        return str(NUMBERS[word]), 1
    return (f"{ORDINALS[word]}th", 1) if word in ORDINALS else None


def is_silent(rest: str) -> bool:
    """Whether what is left of a phrase means nothing more."""
    return FILLERS.issuperset(rest.split())
