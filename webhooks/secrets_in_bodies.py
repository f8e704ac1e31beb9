"""Secrets out of a body before it is kept: a pure function from decoded JSON to decoded JSON of the same structure.

What goes: values under names that name a secret, every header's value (SIP's too, also where they surface again as an assistant's
variables), and what looks like a secret inside any text, JSON in a string included (a model's arguments come so). An id that opens
nothing (a call, an assistant) stays; a Twilio account's goes with its token.
Text that people said stays here: what tenants keep of conversations is their privacy setting's (webhooks/private_in_bodies.py).
"""

import re
from functools import lru_cache
from typing import Any

import msgspec

GONE = "[redacted]"
TOO_DEEP = "[too deep]"
TOO_LONG = "[too long]"
LONGEST = 250_000  # characters of one text, as much as somebody says in hours: searching it holds the process for less than 0.1 s
DEEPEST = 100  # levels of structure; what Vapi sends has about fifteen
LONGEST_NAME = 200
MOST_INNER = 4  # levels of JSON in a string in JSON …; deeper, the text is withheld
SECRET_NAME = re.compile(
    r"secret|token|passw(?:or)?d|passphrase|apikey|accesskey|privatekey|signingkey|authorization|credential|cookie|bearer|accountsid|signature"
)
COUNTED = re.compile(r"tokens?(?:used|count|limit|cost)?$")  # promptTokens, maxTokens: numbers under these names count
HEADERS = re.compile(r"headers?$|^variablevalues$")
SIP = re.compile(r"\A(?:[A-Z]{3,12} sips?:\S{1,500} SIP/2\.0|SIP/2\.0 \d{3}[^\r\n]{0,200})\r?\n")
END_OF_HEAD = re.compile(r"\r?\n\r?\n")
SIP_NAME = re.compile(r"(?m)^([A-Za-z][\w.-]{0,60}+)[ \t]{0,3}+:")
NAMING, VALUES = ("name", "key", "header", "field"), ("value", "val", "content")
LETTERS = re.compile(r"[^a-z0-9]")
NAMES = (  # as they stand in texts
    r"secret|token|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key|authorization|credential|signature"
    r"|cookie|account[_-]?sid"
)
# each is tried at few places and walks on without going back: a text of millions of letters takes time in proportion to its length
LOOKS_SECRET = re.compile(
    r"""
    (?=[abeghiprstvwx:-])(?:  # most letters end here, quickly
      (?P<scheme>\bBearer\s{1,3}|\bBasic\s{1,3}(?=[\w+/=]{12}))[\w.~+/=:-]{6,}
    | \b(?:sk|rk|pk|whsec|whs|trk|ghp|gho|ghu|ghs|ghr|glpat|github_pat|xox[a-z]|hf|pat|vapi|SG)[_.-][\w.~+/=-]{8,}
    | \b(?:AKIA|ASIA)[0-9A-Z]{12,} | \bAIza[\w-]{20,} | \b(?:SK|AC)[0-9a-f]{32}\b
    | \beyJ[\w-]{4,}\.[\w-]+(?:\.[\w-]*)?
    | -----BEGIN\ [A-Z ]{0,40}PRIVATE\ KEY-----[^-]*(?:-----END\ [A-Z ]{0,40}PRIVATE\ KEY-----)?
    | \binline:[\w+/=|:-]{16,}  # the key of an encrypted stream (RFC 4568)
    | (?P<user>://)[^\s/@:"']{0,256}+:[^\s/@"']{1,256}+(?=@)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
NAMED_SECRET = re.compile(
    rf"""(?=[stpac])((?:{NAMES})[\w-]{{0,40}}+\\*+["']?\s{{0,3}}+[:=]\s{{0,3}}+\\*+["']?)(?!\[redacted\])(?:(?:Basic|Token|Digest)\s{{1,3}})?[^\s"'\\,;&}}\]]+""",
    re.IGNORECASE,
)
# one of these stands in a text that names a secret
NAMED_WORDS = ("secret", "token", "passw", "passphrase", "key", "authorization", "credential", "signature", "cookie", "sid")


def redacted_document(document: Any) -> Any:
    """The document with every secret replaced by "[redacted]"; the input is not changed."""
    return redacted_value(document, DEEPEST, MOST_INNER)


def redacted_value(value: Any, depth: int, inner: int) -> Any:
    """One value; `depth` and `inner` are the levels that are left."""
    if isinstance(value, str):
        return redacted_text(value, depth, inner)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return TOO_DEEP
    if isinstance(value, list):
        if is_named_pair(value):
            return [value[0], GONE]
        return [redacted_value(each, depth - 1, inner) for each in value]
    return redacted_object(value, depth, inner)


def redacted_object(fields: dict[str, Any], depth: int, inner: int) -> dict[str, Any]:
    """One object: by its names, by a name and a value beside each other, then by what stands in it."""
    names_one = any(isinstance(fields.get(naming), str) and names_a_secret(fields[naming]) for naming in NAMING)
    found: dict[str, Any] = {}
    for name, value in fields.items():
        shown = redacted_text(name, depth, 0)
        if is_secret(name, value) or (names_one and name in VALUES and value is not None):
            found[shown] = GONE
        elif HEADERS.search(plain(name)) and isinstance(value, dict | list):
            found[shown] = without_values(value)
        else:
            found[shown] = redacted_value(value, depth - 1, inner)
    return found


def is_secret(name: str, value: Any) -> bool:
    """Whether a value is withheld for its name; true, false, null and nothing at all tell no secret, and numbers of tokens are counts."""
    if value is None or isinstance(value, bool) or value in ("", [], {}) or not names_a_secret(name):
        return False
    return not (isinstance(value, int | float) and COUNTED.search(plain(name)))


def names_a_secret(name: str) -> bool:
    """Whether what is called so is a secret."""
    return bool(SECRET_NAME.search(plain(name)))


def plain(name: str) -> str:
    """A name in small letters without what separates its words; no more of it than a name has."""
    return letters(name[-LONGEST_NAME:])


@lru_cache(maxsize=4096)
def letters(name: str) -> str:
    """A short name, small and without what separates its words; names come again and again."""
    return LETTERS.sub("", name.lower())


def is_named_pair(value: list[Any]) -> bool:
    """A header as a pair: ["Authorization", "…"]."""
    return len(value) == len(("name", "value")) and isinstance(value[0], str) and isinstance(value[1], str) and names_a_secret(value[0])


def without_values(headers: Any) -> Any:
    """Headers by their names alone: any of them may authenticate."""
    if isinstance(headers, dict):
        return dict.fromkeys((redacted_text(name, 0, 0) for name in headers), GONE)
    return [
        {name: value if name in NAMING and isinstance(value, str) else GONE for name, value in each.items()}
        if isinstance(each, dict)
        else GONE
        for each in headers
    ]


def redacted_text(text: str, depth: int, inner: int) -> str:
    """One text: as JSON if it is some, else by what looks like a secret in it."""
    if len(text) > LONGEST:
        return TOO_LONG
    if text.lstrip()[:1] in ("{", "[", '"'):
        try:
            document = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            pass
        else:
            return redacted_json_text(text, document, depth, inner)
    if SIP.match(text):
        return sip_message(text)
    found = LOOKS_SECRET.sub(gone, text)
    lowered = found.lower()
    return NAMED_SECRET.sub(rf"\1{GONE}", found) if any(word in lowered for word in NAMED_WORDS) else found


def sip_message(text: str) -> str:
    """A SIP message (RFC 3261, section 7) by its method or version and the names of its headers; its body may hold keys and is left out."""
    head = END_OF_HEAD.split(text, maxsplit=1)[0]
    first, _, rest = head.partition("\n")
    return "\r\n".join([f"{first.split(' ')[0]} {GONE}", *(f"{name}: {GONE}" for name in SIP_NAME.findall(rest))])


def redacted_json_text(text: str, document: Any, depth: int, inner: int) -> str:
    """JSON in a string: the same text if there was nothing to withhold, with its own spaces."""
    if inner == 0:
        return GONE
    shown = redacted_value(document, depth, inner - 1)
    return text if shown == document else msgspec.json.encode(shown).decode()


def gone(match: re.Match[str]) -> str:
    """What stands there instead, with the word that tells what it was."""
    return (match["scheme"] or match["user"] or "") + GONE
