import stat
from pathlib import Path

import psutil
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError

from trunkline.dev.leftovers import standing_in
from trunkline.dev.valkey import EmbeddedValkey


async def test_it_keeps_what_it_is_told_and_refuses_strangers(tmp_path: Path) -> None:
    directory = tmp_path / 'a "quoted" path' / "valkey"
    for visit in (1, 2):
        async with EmbeddedValkey(directory) as valkey:
            client = Redis.from_url(valkey.url)
            assert await client.incr("visits") == visit
            kept = await client.config_get("*append*", "maxmemory-policy")
            assert (kept["appendonly"], kept["appendfsync"], kept["maxmemory-policy"]) == ("yes", "everysec", "noeviction")
            await client.aclose()
            stranger = Redis(port=valkey.port, retry=Retry(NoBackoff(), 0))
            with pytest.raises(AuthenticationError):
                await stranger.ping()
            await stranger.aclose()
            url, password = valkey.url, (directory / "password").read_text()
            assert password not in " ".join(psutil.Process(valkey.pid).cmdline())
        assert stat.S_IMODE((directory / "valkey.conf").stat().st_mode) == 0o600
        assert standing_in(directory, valkey.programs) == []
    assert valkey.url == url


async def test_without_durability_nothing_is_written(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path / "valkey", durable=False) as valkey:
        client = Redis.from_url(valkey.url)
        await client.set("a", "b")
        await client.aclose()
    assert list((tmp_path / "valkey" / "data").iterdir()) == []


async def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    async with EmbeddedValkey(tmp_path.joinpath(*["x" * 60] * 3), durable=False) as valkey:
        short = valkey.sockets
        assert not short.is_relative_to(tmp_path)
    assert not short.exists()
