import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from messaging.signature import Algorithm, check, sign

TOKEN = "12345"
URL = "https://hooks.example.com/twilio/status/t1/m1"
FORM = [
    ("MessageSid", "SM" + "0" * 32),
    ("MessageStatus", "delivered"),
    ("To", "+12025550123"),
    ("From", "+12025550199"),
    ("AccountSid", "AC" + "0" * 32),
]
JSON_URL = "https://hooks.example.com/twilio/json?bodySHA256=015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
SHARED = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
WORDS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=12)


@pytest.mark.parametrize(
    ("algorithm", "form", "json"),
    [
        ("HMAC_SHA1", "mFHE7/BVmbHFE5/fnJQEbHjF35M=", "NeID26GwTlx52sFr+CyXW9mkJNA="),
        ("HMAC_SHA256", "2g+J4LrnA6WFflgZZ1JmohiukczG9vfQ1H1Vdy6FBRk=", "VcvseLyizTggKrVgWIl8+Tu0mszMJsOoMhOzhrOi+fw="),
    ],
)
def test_the_known_vectors(algorithm: Algorithm, form: str, json: str) -> None:
    assert sign(TOKEN, URL, FORM, algorithm) == form
    assert sign(TOKEN, JSON_URL, algorithm=algorithm) == json
    settings = f"algorithm={algorithm}"
    assert check(URL, form, auth_tokens=[TOKEN], parameters=FORM, settings=settings)
    assert check(JSON_URL, json, auth_tokens=[TOKEN], body=b'{"a":1}', settings=settings)


def test_anything_else_is_refused() -> None:
    good = sign(TOKEN, URL, FORM)
    assert check(URL, good, auth_tokens=[TOKEN], parameters=FORM)
    assert not check(URL, good, auth_tokens=["54321"], parameters=FORM)
    assert not check(URL, good, auth_tokens=[], parameters=FORM)
    assert not check(URL, sign("", URL, FORM), auth_tokens=[""], parameters=FORM)
    assert not check(URL, good, auth_tokens=[TOKEN], parameters=FORM[1:])
    assert not check(URL, good, auth_tokens=[TOKEN], parameters=[*FORM, ("Extra", "1")])
    assert not check(URL + "x", good, auth_tokens=[TOKEN], parameters=FORM)
    assert not check(URL.replace("https", "http"), good, auth_tokens=[TOKEN], parameters=FORM)
    for wrong in ("", good[:-1], good.lower(), good + "=", "é", "\ud800"):
        assert not check(URL, wrong, auth_tokens=[TOKEN], parameters=FORM)


def test_the_old_and_the_new_token_count_while_one_is_rotated() -> None:
    for token in ("old", "new"):
        assert check(URL, sign(token, URL, FORM), auth_tokens=["new", "old"], parameters=FORM)


def test_a_body_must_be_the_one_that_was_signed() -> None:
    good = sign(TOKEN, JSON_URL)
    assert check(JSON_URL, good, auth_tokens=[TOKEN], body=b'{"a":1}')
    assert not check(JSON_URL, good, auth_tokens=[TOKEN], body=b'{"a":2}')
    assert not check(URL, sign(TOKEN, URL), auth_tokens=[TOKEN], body=b'{"a":1}')  # no hash, no proof


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("https://hooks.example.com/a?b=c", "https://hooks.example.com:443/a?b=c"),
        ("https://hooks.example.com:8443/a", "https://hooks.example.com/a"),
        ("http://hooks.example.com/a", "http://hooks.example.com:80/a"),
        ("https://user:pass@hooks.example.com:8443/a", "https://user:pass@hooks.example.com/a"),
        ("https://hooks.example.com?b=c", "https://hooks.example.com:443?b=c"),
        ("https://hooks.example.com/a#rc=5&rp=ct,rt,5xx", "https://hooks.example.com/a"),
        ("https://Hooks.Example.com/a", "https://Hooks.Example.com/a"),
    ],
)
def test_both_port_forms_and_nothing_else(ours: str, theirs: str) -> None:
    assert check(ours, sign(TOKEN, theirs, FORM), auth_tokens=[TOKEN], parameters=FORM)
    assert not check(ours, sign(TOKEN, theirs + "/", FORM), auth_tokens=[TOKEN], parameters=FORM)


def test_a_shared_key_counts_only_where_it_was_set() -> None:
    signed = sign("shared secret", URL, FORM, "HMAC_SHA256")
    assert check(URL, signed, auth_tokens=[TOKEN], parameters=FORM, settings=SHARED, shared_keys={"webhooks_sharedkey_1": "shared secret"})
    assert not check(URL, signed, auth_tokens=["shared secret"], parameters=FORM, settings=SHARED)
    assert not check(
        URL, signed, auth_tokens=[TOKEN], parameters=FORM, settings=SHARED, shared_keys={"webhooks_sharedkey_2": "shared secret"}
    )
    assert not check(URL, sign(TOKEN, URL, FORM, "HMAC_SHA256"), auth_tokens=[TOKEN], parameters=FORM, settings=SHARED)


@pytest.mark.parametrize("settings", ["algorithm=HMAC_MD5", "algorithm=none", "key=,algorithm=SHA1"])
def test_no_other_algorithm(settings: str) -> None:
    assert not check(URL, sign(TOKEN, URL, FORM), auth_tokens=[TOKEN], parameters=FORM, settings=settings)


@given(
    st.lists(st.tuples(WORDS, WORDS), max_size=8, unique_by=lambda pair: pair[0]),
    st.sampled_from([URL, JSON_URL, "https://h.example.com:8443/x?y"]),
)
def test_twilios_own_library_signs_the_same(parameters: list[tuple[str, str]], url: str) -> None:
    theirs: str = RequestValidator(TOKEN).compute_signature(url, dict(parameters))  # type: ignore[no-untyped-call]
    assert sign(TOKEN, url, parameters) == theirs
    assert check(url, sign(TOKEN, url, parameters), auth_tokens=[TOKEN], parameters=parameters)


@given(st.text(), st.text(), st.text(), st.one_of(st.none(), st.binary()), st.lists(st.tuples(st.text(), st.text())))
def test_garbage_is_refused_not_raised(
    url: str, signature: str, settings: str, body: bytes | None, parameters: list[tuple[str, str]]
) -> None:
    assert check(url, signature, auth_tokens=[TOKEN], parameters=parameters, body=body, settings=settings) is False
