import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_term_and_ctrl_c_leave_nothing_behind_and_a_later_run_finds_its_data(data_dir: Path, launch: Callable[..., Any]) -> None:
    outside = {path: mode(path) for path in (data_dir, *data_dir.parents)}
    first = launch(data_dir, commands=("idle", "parent"))  # the parent's own child knows of no signal
    state = first.state()
    assert state["visits"] == [1, 1]
    assert len(first.living()) > 5
    assert first.stop(signal.SIGTERM) == 0
    assert first.living() == []

    second = launch(data_dir)
    assert second.state()["visits"] == [2, 2]
    assert second.state()["database_url"] == state["database_url"]
    assert second.stop(signal.SIGINT, group=True) == 0
    assert second.living() == []
    assert {path: mode(path) for path in outside} == outside
    assert mode(data_dir / "private") == 0o700


def test_services_stop_in_reverse_order(data_dir: Path, launch: Callable[..., Any]) -> None:
    run = launch(data_dir, commands=("api", "deaf"))
    pids = run.state()["pids"]
    os.kill(run.process.pid, signal.SIGTERM)
    run.until(lambda: "stopping" in run.said)
    time.sleep(0.7)  # the deaf one, started last, ignores TERM for two seconds: whatever it stands on has to wait
    assert psutil.STATUS_ZOMBIE not in {psutil.Process(pid).status() for pid in pids.values()}
    os.kill(run.process.pid, signal.SIGTERM)
    run.until(lambda: "already stopping" in run.said)
    assert run.process.wait(timeout=20) == 0
    assert run.living() == []


def test_kill_of_everything_is_taken_over(data_dir: Path, launch: Callable[..., Any]) -> None:
    first = launch(data_dir)
    first.state()
    first.kill_all()
    second = launch(data_dir)
    by_postgres, _ = second.state()["visits"]  # Valkey may lose the last second
    assert by_postgres == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death; elsewhere the next start ends it")
def test_children_end_with_a_killed_supervisor(data_dir: Path, launch: Callable[..., Any]) -> None:
    run = launch(data_dir)
    run.state()
    run.stop(signal.SIGKILL)
    run.until(lambda: not run.living())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_killed_make_ends_everything_politely(data_dir: Path, launch: Callable[..., Any]) -> None:
    make = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])"]
    run = launch(data_dir, prefix=make, env={"MAKELEVEL": "1"})
    run.state()
    run.stop(signal.SIGKILL)
    run.until(lambda: not run.living())
    assert "SIGTERM: stopping" in run.said


def test_orphans_are_ended_by_the_next_start(data_dir: Path, tmp_path: Path, launch: Callable[..., Any]) -> None:
    (tmp_path / "bin").mkdir()
    if unshare := shutil.which("unshare"):
        (tmp_path / "bin" / "unshare").symlink_to(unshare)
    orphaned = launch(data_dir, env={"PATH": str(tmp_path / "bin")})  # no setpriv there: children outlive the supervisor
    pids = orphaned.state()["pids"]
    orphaned.stop(signal.SIGKILL)
    assert {psutil.Process(pid).is_running() for pid in pids.values()} == {True}

    second = launch(data_dir)
    assert second.state()["visits"] == [2, 2]
    assert orphaned.mark not in {process.environ().get("MARK_OF_RUN") for process in second.living()}
    for line in ("ending 1 processes", "postgres of an earlier run", "valkey of an earlier run"):
        assert line in second.said
    assert second.stop(signal.SIGTERM) == 0
    assert [process for process in orphaned.living() if process.pid in pids.values()] == []


@pytest.mark.parametrize("name", ["idle", "postgres", "valkey"])
def test_what_dies_is_started_again_with_a_notice(name: str, data_dir: Path, launch: Callable[..., Any]) -> None:
    run = launch(data_dir)
    state = run.state()
    os.kill(state["pids"][name], signal.SIGKILL)
    run.until(lambda: f"{name} runs again" in run.said)
    assert f"{name} was ended by SIGKILL: starting it again in 0.2 s" in run.said
    assert run.stop(signal.SIGTERM) == 0
    assert run.living() == []
    again = launch(data_dir)
    assert again.state()["database_url"] == state["database_url"]
    assert again.state()["redis_url"] == state["redis_url"]


def test_one_run_per_directory_and_two_side_by_side(data_dir: Path, tmp_path: Path, launch: Callable[..., Any]) -> None:
    (tmp_path / "other").mkdir()
    first, other = launch(data_dir), launch(tmp_path / "other")
    states = [run.state() for run in (first, other)]
    assert len({state["database_url"] for state in states} | {state["redis_url"] for state in states}) == 4
    refused = launch(data_dir)
    assert refused.process.wait(timeout=10) == 1
    assert f"refused: Process {first.process.pid} already runs on {data_dir}" in refused.said
    assert first.process.poll() is None


def test_output_of_commands_is_kept_and_echoed(data_dir: Path, launch: Callable[..., Any]) -> None:
    run = launch(data_dir)
    run.state()
    run.until(lambda: "idle | idle" in run.said)
    assert (data_dir / "private" / "logs" / "idle.log").read_text() == "idle\n"
