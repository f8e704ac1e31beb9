"""Where a text leads to, whatever is done to hide it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.links import strangers

LISTED = ("good.org", "xn--mnchen-3ya.de")


@pytest.mark.parametrize(
    "text",
    [
        "See https://good.org, thanks.",
        "(https://good.org/a?b=evil.com&c=1)",
        "www.good.org",
        "book at GOOD.ORG. Thanks",
        "shop.good.org/archive.zip",
        "good.org:8443/x",
        "https://münchen.de/plan",
        "At 3.30pm with Dr.Smith, for $5.00, on 1.5.2026, e.g. in the U.S. or at 9 a.m.",
        "No link at all",
        "",
    ],
)
def test_what_leads_to_listed_hosts_or_nowhere_passes(text: str) -> None:
    assert strangers(text, LISTED) == set()


@pytest.mark.parametrize(
    "text",
    [
        "evil.com",
        "Go to EVIL.COM/login now",
        "evil.com.",
        "evil.com.I am waiting",
        "http://evil",
        "https://good.org@evil.com",
        "https://evil.com@good.org/",
        "https://evil.com\\@good.org",
        "good.org@evil.com",
        "evil.com/good.org",
        "evil.com?good.org",
        "https://good.org,evil.com",
        "https://good.org%2eevil.com",
        "good.org.evil.com",
        "evilgood.org",
        "good.org and evil.com",
        "go\u200bod.org.evil.com",
        "evil.com\u200b.good.org",
        "good.org/\u200bevil.com",
        "e\u00advil.com",
        "evil\u3002com",
        "\uff45\uff56\uff49\uff4c\uff0e\uff43\uff4f\uff4d",
        "good.\u043erg.com",  # a Cyrillic o
        "\u0435vil.com",
        "xn--e1afmkfd.com",
        "\U0001f600good.org",
        "evil[.]com",
        "evil (dot) com",
        "hxxps://evil.com",
        "https:evil.com",
        "HTTPS:\\\\evil.com",
        "//evil.com/x",
        "me@evil.com",
        "www.evil.unknowntld",
        "1.2.3.4/x",
        "http://2130706433/",
        "https://[2001:db8::1]/",
        "see you tomorrow.at ten",  # a phone makes a link of it
    ],
)
def test_what_leads_elsewhere_is_found(text: str) -> None:
    assert strangers(text, LISTED)


def test_an_empty_list_lets_no_link_pass() -> None:
    assert strangers("good.org", ()) == {"good.org"}


LABEL = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda label: not label.startswith("xn--"))
HOSTS = st.builds(
    lambda labels, top: ".".join([*labels, top]), st.lists(LABEL, min_size=1, max_size=3), st.sampled_from(["com", "org", "pm", "co.uk"])
)
BEFORE = st.sampled_from(["", "See ", "(", "https://", "http://", "HTTPS://", "www.", "https://good.org@", "“", "good.org ", "\u200b"])
AFTER = st.sampled_from(["", ".", ", ok?", "/", "/a/good.org", "?x=1", "#y", ")", "!", ":8080/z", " good.org", "\u200b", "”", "\n"])


@given(BEFORE, HOSTS, AFTER, st.booleans())
def test_no_host_gets_past_whatever_stands_around_it(before: str, host: str, after: str, upper: bool) -> None:
    assert strangers(before + (host.upper() if upper else host) + after, ("good.org",)) - {"good.org"}


@given(BEFORE.filter(lambda text: "@" not in text), HOSTS, AFTER.filter(lambda text: "\u200b" not in text))
def test_a_listed_host_passes_in_every_form(before: str, host: str, after: str) -> None:
    assert strangers(before + "sub." + host + after, (host, "good.org")) == set()


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    found = strangers(text, ())
    assert found == strangers(text, ("nobody.example",))


@given(st.from_regex(r"(?:at |on |for \$)?\d{1,2}[.:]\d\d(?:pm|am)?(?: [A-Z][a-z]{2,7}[,.]?){0,3}", fullmatch=True))
def test_times_and_prices_are_no_links(text: str) -> None:
    assert strangers(text, ()) == set()
