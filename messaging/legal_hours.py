"""When the law lets people in the US be texted for sale, by state and day: data, and no legal advice.

The rules are those that came with this release, or a file of the operator's own; a process takes one at its start and keeps it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache, partial
from pathlib import Path

from messaging.holidays import holidays_of
from messaging.legal_rules import BUILT_IN, BadRules, Data, Hours, parse
from messaging.wall_hours import DAY_MINUTES, Windows, first_allowed
from messaging.whereabouts import STATES, zones_of_state
from runtime.settings import SettingError, name_of

SETTING = "quiet_hours_file"
CHECKED_FROM = datetime.combine(date(2026, 1, 1), time(0), UTC)


class LegalHours:
    """The rules, ready to be asked."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.regions = frozenset({"US", *data.territories})  # where the federal rule holds
        by_state: dict[str, list[Hours]] = defaultdict(list)
        for hours in sorted(data.states, key=lambda each: each.since):
            for state in hours.states:
                by_state[state].append(hours)
        self._by_state: Mapping[str, Sequence[Hours]] = by_state
        self.windows = lru_cache(maxsize=4_096)(self._windows)

    def _windows(self, state: str | None, day: date) -> Windows:
        """When marketing is allowed in a state on a day: what the federal rule and the state's both allow. None: the state is not known."""
        own = self.of_state(state or "", day)
        return self.data.federal.windows(day, holiday=False) if own is None else self.both(own, day)

    def of_state(self, state: str, day: date) -> Hours | None:
        """The state's entry on a day: of those that hold, the one that began last."""
        return next((each for each in reversed(self._by_state.get(state, ())) if each.since <= day <= each.until), None)

    def both(self, own: Hours, day: date) -> Windows:
        """What the federal rule and an entry both allow, whether it holds then or not."""
        return common(
            self.data.federal.windows(day, holiday=False), own.windows(day, holiday=day in holidays_of(self.data.holidays, day.year))
        )

    def check(self) -> None:
        """A text is put off, never refused: in every state there has to be a minute that all its zones allow.

        Raises:
            BadRules: an entry names a state there is none of, or lets nothing leave.
        """
        for place, entry in enumerate(self.data.states):
            for state in entry.states:
                if state not in STATES:
                    raise BadRules(f"/states/{place}/states", f"{state} is no state of the US.")
                held = [(partial(self.both, entry), zone) for zone in zones_of_state(state)]
                if first_allowed(held, CHECKED_FROM) is None:
                    raise BadRules(f"/states/{place}", f"Within these hours and the federal ones nothing could ever leave in {state}.")


def common(one: Windows, other: Windows) -> Windows:
    """What is in both."""
    both = ((max(a, c), min(b, d)) for a, b in one for c, d in other)
    return tuple((begin, end) for begin, end in both if 0 <= begin < end <= DAY_MINUTES)


@lru_cache(maxsize=8)
def rules_of(path: str) -> LegalHours:
    """The rules in a file, read once; an empty path: those that came with this release.

    Raises:
        SettingError: the file cannot be read or used.
    """
    try:
        rules = LegalHours(parse((Path(path) if path else BUILT_IN).read_bytes()))
        rules.check()
    except OSError as error:
        raise SettingError(f"{name_of(SETTING)} names a file that cannot be read: {error.strerror}.") from error
    except BadRules as error:
        raise SettingError(f"{name_of(SETTING)} names a file that cannot be used, {error}") from error
    return rules


_current: list[LegalHours] = []


def use(path: str) -> None:
    """Judge by the rules in this file from now on, in this process.

    Raises:
        SettingError: the file cannot be read or used.
    """
    _current[:] = [rules_of(path)]


def in_use() -> LegalHours:
    """The rules that this process judges by."""
    return _current[0] if _current else rules_of("")
