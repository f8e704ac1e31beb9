"""The operator's own rules about hours: what is good is judged by, what is not is named with its place."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from messaging import legal_hours
from messaging.legal_hours import in_use, rules_of, use
from messaging.legal_rules import BUILT_IN, parse
from messaging.quiet_hours import next_allowed
from runtime.settings import SettingError, Settings
from tests.docs.documents import document, fences_in
from tests.webhooks.snapshots import snapshot
from trunkline.doctor import quiet_hours_rules

SETTING = "TRUNKLINE_QUIET_HOURS_FILE"
AUSTIN, BOSTON = "+15125550101", "+16175550101"
GOOD: dict[str, Any] = {
    "as_of": "2027-01-01",
    "federal": {"weekdays": ["08:00", "21:00"]},
    "territories": ["PR"],
    "states": [{"states": ["TX", "NY"], "weekdays": ["09:00", "21:00"]}],
    "holidays": [{"name": "Christmas Day", "month": 12, "day": 25}],
}


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = list(legal_hours._current)
    yield
    legal_hours._current[:] = before


def written(tmp_path: Path, content: Any) -> str:
    path = tmp_path / f"rules-{len(list(tmp_path.iterdir()))}.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return str(path)


def entry(**changed: Any) -> dict[str, Any]:
    return {"states": [{"states": ["TX"], "weekdays": ["09:00", "21:00"], **changed}]}


def leaves(to: str, at: str, later: str) -> bool:
    return next_allowed(snapshot(), to, "marketing", datetime.fromisoformat(at)) == datetime.fromisoformat(later)


def test_the_example_in_the_manual_holds_with_its_days() -> None:
    section = document("docs/operations.md").section("Quiet hours of your own")
    (example,) = [fence.text for fence in fences_in(section) if fence.kind == "json"]
    rules = legal_hours.LegalHours(parse(example.encode()))
    rules.check()
    assert rules.windows("TX", date(2026, 12, 31)) == ((540, 1260),)
    assert rules.windows("TX", date(2027, 1, 1)) == ((540, 1200),)
    assert (rules.windows("TX", date(2026, 12, 27)), rules.windows("TX", date(2027, 1, 3))) == (((720, 1260),), ())  # Sundays
    assert rules.windows("LA", date(2026, 12, 25)) == ()
    assert rules.windows("NY", date(2026, 12, 25)) == rules.windows(None, date(2026, 12, 25)) == ((480, 1260),)


def test_what_came_with_the_release_holds_without_a_file() -> None:
    use("")
    assert in_use().data == parse(BUILT_IN.read_bytes())
    assert leaves(BOSTON, "2026-06-03T20:30-04:00", "2026-06-04T08:00:00-04:00")


def test_texts_are_judged_by_the_file(tmp_path: Path) -> None:
    dated = {
        **GOOD,
        "states": [*entry(weekdays=["10:00", "21:00"])["states"], *entry(weekdays=["11:00", "15:00"], **{"from": "2026-06-04"})["states"]],
    }
    use(written(tmp_path, dated))
    assert leaves(AUSTIN, "2026-06-03T07:00-05:00", "2026-06-03T15:00:00+00:00")
    assert leaves(AUSTIN, "2026-06-03T21:30-05:00", "2026-06-04T16:00:00+00:00")
    assert leaves(BOSTON, "2026-06-03T20:30-04:00", "2026-06-03T20:30:00-04:00")  # it has no entry in this file
    assert in_use().regions == {"US", "PR"}


def test_an_entry_that_is_over_leaves_the_federal_hours(tmp_path: Path) -> None:
    use(written(tmp_path, {**GOOD, **entry(weekdays=["12:00", "15:00"], until="2026-06-03")}))
    assert leaves(AUSTIN, "2026-06-03T08:00-05:00", "2026-06-03T17:00:00+00:00")
    assert leaves(AUSTIN, "2026-06-03T15:00-05:00", "2026-06-04T13:00:00+00:00")


BAD: dict[str, tuple[Any, str]] = {
    "no JSON": ('{\n "as_of": "2027-01-01",\n oops}', "line 3"),
    "nothing": ("", "line 1"),
    "no object": ([], "its top"),
    "no date": ({name: GOOD[name] for name in GOOD if name != "as_of"}, "its top"),
    "an odd date": ({**GOOD, "as_of": "last year"}, "/as_of"),
    "a misspelt field": ({**GOOD, **entry(wekdays=["08:00", "20:00"])}, "/states/0"),
    "a time that is none": ({**GOOD, **entry(weekdays=["8:00", "20:00"])}, "/states/0/weekdays/0"),
    "a day of 25 hours": ({**GOOD, **entry(sunday=["08:00", "25:00"])}, "/states/0/sunday/1"),
    "an end before its beginning": ({**GOOD, **entry(saturday=["20:00", "08:00"])}, "/states/0/saturday"),
    "federal hours backwards": ({**GOOD, "federal": {"weekdays": ["21:00", "08:00"]}}, "/federal/weekdays"),
    "federal hours of some days": ({**GOOD, "federal": {"weekdays": ["08:00", "21:00"], "until": "2030-01-01"}}, "/federal"),
    "no states": ({**GOOD, **entry(states=[])}, "/states/0/states"),
    "a state there is none of": ({**GOOD, **entry(states=["ZZ"])}, "/states/0/states"),
    "over before it begins": ({**GOOD, **entry(**{"from": "2027-02-02", "until": "2027-02-01"})}, "/states/0/until"),
    "two at once": ({**GOOD, "states": [*GOOD["states"], *entry()["states"]]}, "/states/1/states"),
    "never": ({**GOOD, **entry(weekdays=None)}, "/states/0"),
    "outside of the federal hours": ({**GOOD, **entry(weekdays=["05:00", "08:00"])}, "/states/0"),
    "in no minute of all zones": ({**GOOD, **entry(states=["AK"], weekdays=["09:00", "10:00"])}, "/states/0"),
    "no federal hours": ({**GOOD, "federal": {"weekdays": None}}, "/states/0"),
    "a holiday without a day": ({**GOOD, "holidays": [{"name": "x", "month": 1}]}, "/holidays/0"),
    "a leap day": ({**GOOD, "holidays": [{"name": "x", "month": 2, "day": 29}]}, "/holidays/0"),
    "a month there is none of": ({**GOOD, "holidays": [{"name": "x", "month": 13, "weekday": "monday", "nth": -1}]}, "/holidays/0"),
    "a fifth Monday": ({**GOOD, "holidays": [{"name": "x", "month": 1, "weekday": "monday", "nth": 5}]}, "/holidays/0/nth"),
    "a weekday there is none of": ({**GOOD, "holidays": [{"name": "x", "weekday": "moonday"}]}, "/holidays/0/weekday"),
}


@pytest.mark.parametrize(("content", "place"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_named_with_its_place_in_one_sentence(content: Any, place: str, tmp_path: Path) -> None:
    use("")
    with pytest.raises(SettingError) as refused:
        use(written(tmp_path, content))
    sentence = str(refused.value)
    assert sentence.startswith(f"{SETTING} names a file that cannot be used, at {place}: ")
    assert sentence.endswith((".", "?"))
    assert "\n" not in sentence
    assert in_use().data == parse(BUILT_IN.read_bytes())  # the rules before hold on


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(SettingError, match=f"^{SETTING} names a file that cannot be read: "):
            rules_of(str(path))


def test_the_doctor_says_which_rules_hold(tmp_path: Path) -> None:
    built_in = quiet_hours_rules(Settings())
    assert (built_in.ok, str(rules_of("").data.as_of) in built_in.found) == (True, True)
    path = written(tmp_path, GOOD)
    own = quiet_hours_rules(Settings(quiet_hours_file=path))
    assert own.ok
    assert "2027-01-01" in own.found
    assert path in own.found
    bad = quiet_hours_rules(Settings(quiet_hours_file=written(tmp_path, "{")))
    assert not bad.ok
    assert SETTING in bad.found


@pytest.mark.parametrize("environment", ["production", "development"])
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_api_and_worker_do_not_start_with_a_bad_one(command: str, environment: str, tmp_path: Path) -> None:
    given = {
        "TRUNKLINE_DATABASE_URL": "postgresql://a:b@127.0.0.1:9/c",
        "TRUNKLINE_REDIS_URL": "redis://127.0.0.1:9/0",
        "TRUNKLINE_PUBLIC_BASE_URL": "https://hooks.example.com",
        "TRUNKLINE_SECRET_KEYS": "k1:" + "A" * 43 + "=",
        "TRUNKLINE_ADMIN_KEY": "an operator's key of enough length",
        "TRUNKLINE_ENVIRONMENT": environment,
        SETTING: written(tmp_path, {**GOOD, **entry(weekdays=["20:00", "08:00"])}),
    }
    argv = [sys.executable, "-P", "-m", "trunkline.cli", command]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("TRUNKLINE_")} | given
    ended = subprocess.run(argv, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)  # noqa: S603  ours
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.startswith(f"{SETTING} names a file that cannot be used, at /states/0/weekdays: 20:00 to 08:00 is no span")
    assert ended.stderr.count("\n") == 1
