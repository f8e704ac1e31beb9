"""The hosts that a text leads to, as phones make links of it: with a scheme, with www., and bare names under a known top-level domain.

Where two readings are possible both count: a text is let through only if each of them is on the list. So an address of e-mail counts by
its host, and a sentence whose next one begins without a space ("see you tomorrow.at ten") is a link, as it is on the phone.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from tenants.text_policy import ascii_host, is_host

# IANA's root zone by the ICANN part of the Public Suffix List (publicsuffix.org), 2026-11
_TOP_LEVEL = frozenset(json.loads((Path(__file__).parent / "top_level_domains.json").read_text("utf-8"))["top_level_domains"])
NO_HOST = "?"  # what stands where a host should: never on a list
_DOTS = re.compile("[\u3002\uff0e\uff61\u2024]")
_DEFANGED = re.compile(r"\s*[\[({]\s*(?:\.|dot)\s*[\])}]\s*", re.IGNORECASE)
_NAME = r"[^\s\x00-,/:-@\[-^`{-\x7f\u00ab\u00bb\u2010-\u201f\u2026]+"  # letters and digits of any script, emoji, dot, hyphen, underscore
_LINK = re.compile(
    rf"(?:(?P<scheme>(?:https?|hxxps?|ftp):[/\\]*|[a-z][a-z0-9+.-]*:[/\\]{{2,}})(?P<authority>[^\s/\\?#<>\"]*)|(?P<bare>{_NAME}))"
    r"(?P<rest>(?::\d+)?[/?#][!-~]*?(?=[\s<>\"'(),;|{}\[\]^`\\]|[^!-~]|$))?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")  # of IPv4
_AUTHORITY = re.compile(rf"(?P<name>{_NAME})(?::\d*)?")
_PORT = re.compile(r":\d*$")


def strangers(text: str, listed: Iterable[str]) -> set[str]:
    """The hosts of a text's links that are neither on the list nor under a host on it; `?` for what is no host at all."""
    return {host for reading in _readings(text) for host in _hosts(reading) if not _is_under(host, listed)}


def _is_under(host: str, listed: Iterable[str]) -> bool:
    return any(host == known or host.endswith("." + known) for known in listed)


def _readings(text: str) -> set[str]:
    """Phones differ in where an invisible character or another script's full stop ends a link."""
    seen = "".join(" " if character.isspace() else character for character in text)
    folded = unicodedata.normalize("NFKC", _DOTS.sub(".", seen))
    joined = "".join(character for character in folded if unicodedata.category(character) not in ("Cf", "Mn", "Cc"))
    apart = "".join(" " if unicodedata.category(character) in ("Cf", "Cc") else character for character in folded)
    broken = unicodedata.normalize("NFKC", _DOTS.sub(" ", seen))
    return {_DEFANGED.sub(".", reading) for reading in (joined, apart, broken)}


def _hosts(text: str) -> Iterator[str]:
    for found in _LINK.finditer(text):
        authority = found["authority"]
        if found["scheme"] and "@" in authority:
            for part in authority.split("@"):  # what stands before an @ is no host, but reads like one
                yield _host(_PORT.sub("", part))
        elif found["scheme"]:
            named = _AUTHORITY.match(authority)
            yield NO_HOST if named is None else _host(named["name"])
            yield from _hosts(authority[named.end() :] if named else "")  # a comma and what follows it
        elif (host := _bare(found["bare"])) is not None:
            yield host


def _host(name: str) -> str:
    host = ascii_host(name.rstrip("."))
    return host if is_host(host) else NO_HOST


def _bare(name: str) -> str | None:
    """The host at the beginning of a name: up to its last label that is a top-level domain, as link finders read it."""
    labels = name.strip(".").split(".")
    if len(labels) == 1:
        return None
    if _ADDRESS.fullmatch(".".join(labels)):
        return NO_HOST
    for end in range(len(labels), 1, -1):
        if ascii_host(labels[end - 1]) in _TOP_LEVEL:
            return _host(".".join(labels[:end]))
    return NO_HOST if labels[0].lower() == "www" else None
