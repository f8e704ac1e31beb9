"""What would change at Vapi, for any assistant that stands there: only what is ours, nothing twice, and all of it can be undone."""

from collections.abc import Iterable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from webhooks import vapi_before
from webhooks.vapi_findings import address, findings
from webhooks.vapi_problems import reasons
from webhooks.vapi_setup import is_draft
from webhooks.vapi_tools import ids_after, plan_tools, without_server
from webhooks.vapi_wish import MESSAGES, Wish, patch_for, server_of, tool_ids_of

WISH = Wish("https://hooks.example.test/vapi-webhook/a", "whs_secret-of-the-suite", 25)
anything = st.recursive(
    st.none() | st.booleans() | st.integers(0, 400) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["url", "headers", "timeoutSeconds", "backoffPlan", "credentialId", "staticIpAddressesEnabled"])
headers = st.dictionaries(st.sampled_from(["Authorization", "authorization", "X-Theirs", "X-Vapi-Secret"]), st.text(max_size=5), max_size=4)
servers = st.none() | st.dictionaries(names, anything | headers, max_size=6)
ids = st.lists(st.sampled_from(["t1", "t2", "t3", "t4"]), unique=True)
models = anything | st.fixed_dictionaries({"toolIds": ids, "provider": st.just("openai")})
assistants = st.fixed_dictionaries({}, optional={"name": anything, "server": servers, "serverMessages": anything, "model": models})


@given(assistants)
def test_once_it_is_as_wished_nothing_is_left_to_change(assistant: dict[str, Any]) -> None:
    patched = {**assistant, **patch_for(assistant, WISH, None)}
    assert patch_for(patched, WISH, None) == {}
    found = findings(patched, [], WISH, [WISH.secret])
    assert not [each for each in found if each.mendable]


@given(servers)
def test_what_is_not_ours_in_a_server_stays(server: Any) -> None:
    made = server_of(server, WISH)
    for name in ("credentialId", "staticIpAddressesEnabled"):
        assert made.get(name) == (server or {}).get(name)
    assert [name for name in made["headers"] if name.lower() == "authorization"] == ["Authorization"]
    kept = (server or {}).get("headers")
    for name, value in kept.items() if isinstance(kept, dict) else ():
        assert name.lower() == "authorization" or made["headers"][name] == value


@given(assistants)
def test_findings_show_no_secret_and_never_fail(assistant: dict[str, Any]) -> None:
    shown = str(findings(assistant, [], WISH, [WISH.secret, "whs_older"]))
    assert "whs_" not in shown


@given(assistants, ids, st.lists(ids, max_size=4))
def test_whatever_happens_to_tools_is_undone_alone(assistant: dict[str, Any], theirs: list[str], rounds: list[list[str]]) -> None:
    """Each round is one configuring that leaves some set of tools; then all is put back."""
    assistant = {**assistant, "model": {"toolIds": theirs}}
    before, now = vapi_before.before_of(assistant), theirs
    for after in rounds:
        before, now = vapi_before.with_tools(before, now, after), after
    before = vapi_before.read(vapi_before.written(before)) or before
    shown = {**assistant, "model": {"toolIds": now, "temperature": 1}, "server": {"url": "x"}}
    back = {**shown, **vapi_before.patch_back(shown, before)}
    assert set(tool_ids_of(back)) == set(theirs)
    assert back["model"]["temperature"] == 1
    for name in ("server", "serverMessages"):
        assert back[name] == assistant.get(name)


def tools(*described: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "description": what}} for name, what in described]


kinds = st.tuples(st.sampled_from(["send_sms", "opt_out", "theirs"]), st.sampled_from(["old", "new"]))


@given(st.lists(kinds, max_size=5), st.sets(st.integers(0, 4)))
def test_our_tools_are_joined_once_whatever_is_there(there: list[tuple[str, str]], joined: Iterable[int]) -> None:
    existing = [{**tool, "id": f"t{number}", "orgId": "o"} for number, tool in enumerate(tools(*there))]
    assistant = {"model": {"toolIds": [f"t{number}" for number in joined if number < len(existing)]}}
    wanted = [{**tool, "server": {"url": WISH.url}} for tool in tools(("send_sms", "new"), ("opt_out", "new"))]
    plan = plan_tools(assistant, existing, wanted, WISH.url)
    made = {tool["function"]["name"]: f"m{number}" for number, tool in enumerate(plan.missing)}
    after = ids_after(assistant, plan, made)
    everything = existing + [{**tool, "id": made[tool["function"]["name"]]} for tool in plan.missing]
    mine = [each["function"] for each in everything if each["id"] in after and each["function"]["name"] != "theirs"]
    assert sorted((each["name"], each["description"]) for each in mine if each["description"] == "new") == [
        ("opt_out", "new"),
        ("send_sms", "new"),
    ]
    assert not [each for each in mine if each["description"] == "old"]
    for each in existing:  # another's tool stays as it was
        if each["function"]["name"] == "theirs":
            assert (each["id"] in after) == (each["id"] in assistant["model"]["toolIds"])
    again = plan_tools({"model": {"toolIds": after}}, everything, wanted, WISH.url)
    assert (again.missing, ids_after({"model": {"toolIds": after}}, again, {})) == ((), after)
    assert all("server" not in without_server(each) for each in wanted)


def test_an_address_is_shown_without_what_may_be_secret_in_it() -> None:
    assert address("https://user:pw@host.example:8443/hook?token=t#f") == "https://host.example:8443/hook"
    assert [address(each) for each in (None, "", 3, "https://[broken")] == ["nothing", "nothing", "nothing", "no address"]


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: b'{"message": "' + text.encode() + b'"}'))
def test_vapis_words_are_one_printable_line(body: bytes) -> None:
    assert reasons(body, ["secret-of-ours"]).isprintable()


def test_a_version_that_stays_is_a_draft_and_none_is_live() -> None:
    assert is_draft({"latestVersion": 2}, {"latestVersion": 2})
    assert not is_draft({"latestVersion": 2}, {"latestVersion": 3})
    assert not is_draft({}, {})
    assert "phone-call-control" not in MESSAGES
