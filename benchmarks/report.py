"""Numbers of a benchmark as a table for people and one JSON object for programs."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figures:
    """One phase of one side in one round; CPU in ms for each request."""

    per_second: float
    p50_ms: float
    p99_ms: float
    requests: int
    cpu_ms: Mapping[str, float]


def figures(latencies: Sequence[float], seconds: float, cpu_seconds: Mapping[str, float]) -> Figures:
    """Throughput, percentiles and cost of requests whose latencies are given in seconds."""
    ranked = sorted(latencies)
    count = len(ranked)
    p50, p99 = (ranked[min(count - 1, int(count * share))] * 1000 for share in (0.5, 0.99))
    return Figures(count / seconds, p50, p99, count, {name: used / count * 1000 for name, used in cpu_seconds.items()})


def medians(rounds: Sequence[Figures]) -> dict[str, float]:
    """The median round, figure by figure."""
    columns = {
        "per_second": [each.per_second for each in rounds],
        "p50_ms": [each.p50_ms for each in rounds],
        "p99_ms": [each.p99_ms for each in rounds],
        **{f"{name}_cpu_ms": [each.cpu_ms[name] for each in rounds] for name in rounds[0].cpu_ms},
    }
    middle = {name: round(statistics.median(values), 3) for name, values in columns.items()}
    return {**middle, "requests": sum(each.requests for each in rounds)}


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times the throughput of another side, round by round and in the median round."""

    median: float
    rounds: list[float]


def ratio(ours: Sequence[Figures], theirs: Sequence[Figures]) -> Ratio:
    """Ours to theirs; each round by itself, since on a noisy machine only what ran side by side compares."""
    rounds = [round(mine.per_second / other.per_second, 2) for mine, other in zip(ours, theirs, strict=True)]
    return Ratio(round(statistics.median(rounds), 2), rounds)


def table(sides: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """One line for each side and phase: medians of the rounds."""
    lines = [f"{'':<14}{'':<12}{'per second':>11}{'p50 ms':>9}{'p99 ms':>9}{'CPU ms: server':>16}{'postgres':>10}"]
    for name, phases in sides.items():
        for phase, row in phases.items():
            cpu = (f"{row[key]:.3f}" if key in row else "" for key in ("server_cpu_ms", "postgres_cpu_ms"))
            shown = f"{name:<14}{phase:<12}{row['per_second']:>11,.0f}{row['p50_ms']:>9.1f}{row['p99_ms']:>9.1f}"
            lines.append(shown + "{:>16}{:>10}".format(*cpu))
    return "\n".join(lines)
