"""In which order a script's messages leave: one after another, unless duplicates and reordering are wished for."""

from collections.abc import Sequence
from random import Random

import msgspec


class Sending(msgspec.Struct, frozen=True):
    """One delivery, of the message with this place in the script; all its copies leave at once."""

    place: int
    copies: int = 1


def running_order(copies: Sequence[int], rng: Random, *, duplicates: float, reorder: float) -> list[Sending]:
    """The deliveries of a script whose messages have so many copies each.

    With the probability `duplicates` a message is sent once more: half of them at once, half of them one to three deliveries later.
    With the probability `reorder` a delivery changes places with the next one.
    """
    later: dict[int, list[Sending]] = {}
    order: list[Sending] = []
    for place, times in enumerate(copies):
        again = rng.random() < duplicates
        at_once = again and rng.random() < 0.5  # noqa: PLR2004  half of them
        order += [Sending(place, times + at_once), *later.pop(place, [])]
        if again and not at_once:
            later.setdefault(min(place + rng.randrange(1, 4), len(copies) - 1), []).append(Sending(place))
            order += later.pop(place, [])  # the last one comes again right away
    for place in range(len(order) - 1):
        if rng.random() < reorder:
            order[place], order[place + 1] = order[place + 1], order[place]
    return order
