"""Giving up in time, also when what is waited for does not give up: a driver whose server hangs cleans up longer than anybody waits."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")
_abandoned: set["asyncio.Task[Any]"] = set()  # kept until they end by themselves


async def within(seconds: float, question: Coroutine[Any, Any, Answer]) -> Answer:
    """The answer, if it comes in time; else the question is left to end by itself.

    Raises:
        TimeoutError: it did not. Whatever the question raises, if it does so in time.
    """
    task = asyncio.ensure_future(question)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if done:
        return task.result()
    _abandoned.add(task)
    task.add_done_callback(forget)
    task.cancel()
    raise TimeoutError


def forget(task: "asyncio.Task[Any]") -> None:
    """Nobody waits for it any more: what it raised has been answered for."""
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()
