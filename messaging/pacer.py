"""When the next segments of a registration may leave: slots on the Redis server's clock, one script, exact over hours.

A strategy of the `limits` package whose rule is in pacer.lua: instead of refusing it grants a slot in the near future, so nobody
polls and order holds. Redis away means PacerUnavailable: the caller waits, loudly, and never guesses.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Self
from uuid import UUID
from zoneinfo import ZoneInfo

from limits import RateLimitItem
from limits.aio.storage import RedisStorage
from limits.aio.storage.redis.redispy import RedispyBridge
from limits.aio.strategies import RateLimiter
from limits.errors import ConfigurationError
from limits.util import WindowStats
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from runtime import clock

_SCRIPT = (Path(__file__).parent / "pacer.lua").read_bytes()
_MICROSECONDS = 1_000_000
_MINUTE = 60
_FASTEST = 60 * _MICROSECONDS  # segments per minute: one per microsecond
_LONGEST_BATCH = 1000


class PacerUnavailable(ConnectionError):
    """Redis did not answer, or not in time: nothing may leave until it does."""


@dataclass(frozen=True, slots=True)
class DayCap:
    """A count of segments that ends at a midnight; several registrations may share one by its name (a brand's).

    `segments` is what the caller may use of it: less than the cap itself where a share is kept for one-time codes.
    """

    name: str
    segments: int
    day: date
    opens_at: datetime
    resets_at: datetime

    @classmethod
    def on(cls, name: str, segments: int, zone: ZoneInfo, moment: datetime | None = None) -> Self:
        """The cap of the local day that `moment` (default: now) lies in; a day has 23, 24 or 25 hours."""
        day = (moment or clock.now()).astimezone(zone).date()
        opens_at, resets_at = (datetime.combine(day + timedelta(days=after), time(), zone) for after in (0, 1))
        return cls(name, segments, day, opens_at, resets_at)


@dataclass(frozen=True, slots=True)
class Slot:
    """A granted message: leave in `wait` seconds; `reservation` gives the slot back if it never left."""

    reservation: str
    wait: float


@dataclass(frozen=True, slots=True)
class Grant:
    """The slots of the first messages asked for, in order. `retry_in`: seconds until the rest may ask again, None if all got one.

    `refused` says why it is not the rate that holds them: `day_cap:{name}`, `day_changed` (ask with the new day's cap), `restarted`.
    `owed`: seconds until all slots granted so far are paid off; to be kept elsewhere, since Redis may forget it.
    """

    slots: tuple[Slot, ...]
    retry_in: float | None
    refused: str | None
    owed: float = 0.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a registration is using: seconds until its next slot, segments in the last second, segments per day cap by name."""

    next_in: float
    used_last_second: int
    days: Mapping[str, int]


class Pacer(RateLimiter):
    """Slots per registration; see `reserve`. `storage` is `limits`' RedisStorage with `implementation="redispy"`.

    `patience`: seconds until a silent Redis counts as away. `quarantine`: seconds without grants after a restart of Redis (it may
    have forgotten slots that lie ahead); no horizon may be longer. 0 switches it off, for tests that look far ahead.
    """

    def __init__(self, storage: RedisStorage, *, patience: float = 1.0, quarantine: float = 2.0) -> None:
        super().__init__(storage)
        connection: object = storage.bridge.get_connection() if isinstance(storage.bridge, RedispyBridge) else None
        if not isinstance(connection, Redis):
            raise ConfigurationError('The pacer needs RedisStorage(…, implementation="redispy").')
        self._bridge = storage.bridge
        self._redis = connection
        self._script = self._redis.register_script(_SCRIPT)
        self._patience = patience
        self._quarantine = quarantine

    @classmethod
    def at(cls, redis_url: str, *, patience: float = 1.0, quarantine: float = 2.0) -> Self:
        """A pacer with connections of its own to `redis://…`, `rediss://…` or `unix://…`."""
        scheme = "async+redis+unix" + redis_url.removeprefix("unix") if redis_url.startswith("unix:") else f"async+{redis_url}"
        # A connection that died while idle is replaced once; what it may have reserved in vain is wasted, never doubled.
        retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
        options: dict[str, Any] = {"socket_timeout": patience, "socket_connect_timeout": patience, "retry": retry}
        return cls(RedisStorage(scheme, implementation="redispy", **options), patience=patience, quarantine=quarantine)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def reserve(
        self,
        tenant_id: UUID | str,
        registration_id: UUID | str,
        per_minute: int,
        segments: Sequence[int],
        *,
        horizon: float,
        day_caps: Sequence[DayCap] = (),
        owed: float = 0.0,
    ) -> Grant:
        """Slots for messages of so many segments each, in one round trip; every message counts against all limits or none.

        In any window of w seconds the slots hold at most per_minute / 60 * w segments and one message. Slots beyond `horizon`
        seconds are not granted. `owed`: seconds of debt that the caller knows of; a Redis that has forgotten it grants nothing
        before it is paid (while the quarantine is on).

        Raises PacerUnavailable; ValueError for a rate below 1, an empty message or too long a horizon.
        """
        if not segments:
            return Grant((), None, None)
        self._check(per_minute, segments, horizon)
        days = [word for cap in day_caps for word in (cap.segments, _microseconds(cap.opens_at), _microseconds(cap.resets_at))]
        answer = await self._ask(
            self._keys(tenant_id, registration_id, [_day_key(cap.name, cap.day) for cap in day_caps]),
            [
                "reserve",
                per_minute,
                round(horizon * _MICROSECONDS),
                round(self._quarantine * _MICROSECONDS),
                _duration(owed),
                len(day_caps),
                *days,
                *segments,
            ],
        )
        now, retry_at, refused, paid_at, *granted = answer
        suffix = "".join("|" + _day_key(cap.name, cap.day) for cap in day_caps)
        slots = tuple(
            Slot(_text(reservation) + suffix, (at - now) / _MICROSECONDS)
            for reservation, at in zip(granted[::2], granted[1::2], strict=True)
        )
        retry_in = None if retry_at < 0 else (retry_at - now) / _MICROSECONDS
        return Grant(slots, retry_in, _reason(_text(refused), day_caps), (paid_at - now) / _MICROSECONDS)

    async def refund(self, tenant_id: UUID | str, registration_id: UUID | str, reservation: str) -> bool:
        """Give back what was proved not to have left; False if that was done before or over two minutes after its slot.

        The day's count gets its segments back, the count of that day and no other. The rate gets the slot back only while
        nothing granted later can collide with it. Raises PacerUnavailable.
        """
        slot, *days = reservation.split("|")
        return bool(await self._ask(self._keys(tenant_id, registration_id, days), ["refund", slot]))

    async def peek(
        self, tenant_id: UUID | str, registration_id: UUID | str, per_minute: int, day_caps: Sequence[DayCap] = (), *, owed: float = 0.0
    ) -> Reading:
        """What is in use, for people to look at; reserves nothing. `owed` as in `reserve`. Raises PacerUnavailable."""
        keys = self._keys(tenant_id, registration_id, [_day_key(cap.name, cap.day) for cap in day_caps])
        now, free_at, used, *days = await self._ask(keys, ["peek", per_minute, round(self._quarantine * _MICROSECONDS), _duration(owed)])
        return Reading((free_at - now) / _MICROSECONDS, used, dict(zip((cap.name for cap in day_caps), days, strict=True)))

    async def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Take a slot if one is free this instant; identifiers: tenant, registration; cost: segments."""
        tenant_id, registration_id = identifiers
        return bool((await self.reserve(tenant_id, registration_id, _per_minute(item), [cost], horizon=0)).slots)

    async def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:  # noqa: ARG002  any message fits a free slot
        """Whether `hit` would succeed this instant."""
        tenant_id, registration_id = identifiers
        return (await self.peek(tenant_id, registration_id, _per_minute(item))).next_in <= 0

    async def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """When the next slot is free, in seconds since 1970, and how many messages may leave this instant: 1 or 0."""
        tenant_id, registration_id = identifiers
        reading = await self.peek(tenant_id, registration_id, _per_minute(item))
        return WindowStats(clock.now().timestamp() + reading.next_in, int(reading.next_in <= 0))

    async def clear(self, item: RateLimitItem, *identifiers: str) -> None:  # noqa: ARG002  state hangs on the registration, not on its rate
        """Forget what a registration has used of its rate, its debt included; day counts stay."""
        tenant_id, registration_id = identifiers
        async with self._loudly():
            await self._redis.delete(*self._keys(tenant_id, registration_id, []))

    def _check(self, per_minute: int, segments: Sequence[int], horizon: float) -> None:
        if not 1 <= per_minute <= _FASTEST:
            raise ValueError("A rate is at least one segment per minute; a tier that grants none refuses the message earlier.")
        if min(segments) < 1 or len(segments) > _LONGEST_BATCH:
            raise ValueError(f"Between 1 and {_LONGEST_BATCH} messages of at least one segment each can be asked for at once.")
        if horizon < 0 or 0 < self._quarantine < horizon:
            raise ValueError("A horizon may not be longer than the quarantine after a restart of Redis.")

    def _keys(self, tenant_id: UUID | str, registration_id: UUID | str, days: Sequence[str]) -> list[str]:
        tenant = f"pacer:{{{tenant_id}}}"
        own = (f"{tenant}:{registration_id}:{part}" for part in ("state", "free", "recent", "spent"))
        return [self._bridge.prefixed_key(key) for key in (*own, *(f"{tenant}:{day}" for day in days))]

    async def _ask(self, keys: list[str], arguments: list[Any]) -> Any:
        async with self._loudly():
            return await self._script(keys=keys, args=arguments)

    @asynccontextmanager
    async def _loudly(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience):
                yield
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise PacerUnavailable(f"Redis keeps no pace: {type(error).__name__}") from error


def _per_minute(item: RateLimitItem) -> int:
    rate, rest = divmod(item.amount * _MINUTE, item.get_expiry())
    if rest:
        raise ValueError("A rate must be a whole number of segments per minute.")
    return rate


def _day_key(name: str, day: date) -> str:
    return f"day:{name}:{day.isoformat()}"


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp()) * _MICROSECONDS


def _duration(seconds: float) -> int:
    """Microseconds of a debt; none is negative."""
    return max(0, round(seconds * _MICROSECONDS))


def _reason(refused: str, day_caps: Sequence[DayCap]) -> str | None:
    kind, _, index = refused.partition(":")
    return f"{kind}:{day_caps[int(index) - 1].name}" if index else refused or None


def _text(answer: bytes | str) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer
