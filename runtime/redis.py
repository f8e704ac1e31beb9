"""Redis or Valkey: what is shared between processes and may be lost (pacing state, hints, counters), never the truth."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT_SECONDS = 2.0
__all__ = ["TIMEOUT_SECONDS", "RedisError", "open_redis"]


def open_redis(url: str) -> Redis:
    """A client that gives up quickly: whoever asks decides what a missing answer means."""
    return Redis.from_url(
        url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=Retry(NoBackoff(), 0), health_check_interval=15
    )
