"""The supervisor with real processes: it starts again what dies and stops everything at the end."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import psutil
import pytest
from structlog.testing import capture_logs

from tests.waiting import wait_until
from worker.processes import Command, ProcfileError, Supervisor, read_procfile

# Each process leaves a file named after its number, so that a test sees who lives and lived.
SIGN_IN = (
    "import os, pathlib, signal, sys; pathlib.Path(os.environ['PLACE'], str(os.getpid())).touch();"
)
PAUSE = SIGN_IN + "signal.pause()"
POLITE = (
    "import sys, signal; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0));"
    + SIGN_IN
    + "signal.pause()"
)
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    + SIGN_IN
    + "\nwhile True: signal.pause()"
)
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {PAUSE!r}]);" + PAUSE


def python(code: str, name: str = "worker") -> Command:
    return Command(name=name, words=(sys.executable, "-c", code))


@contextmanager
def running(supervisor: Supervisor) -> Iterator[Thread]:
    """Run a supervisor in a thread; whatever the test does, nothing of it is left at the end."""
    thread = Thread(target=supervisor.run)
    thread.start()
    try:
        yield thread
    finally:
        supervisor.stop()
        supervisor.stop()
        thread.join()


def supervise(
    place: Path,
    commands: Sequence[Command],
    counts: dict[str, int] | None = None,
    grace_seconds: float = 60.0,
) -> Supervisor:
    environment = {"PLACE": str(place)}
    return Supervisor(commands, environment=environment, counts=counts, grace_seconds=grace_seconds)


def signed_in(place: Path, count: int) -> set[int]:
    """Wait until this many processes have signed in, and return their numbers."""

    def numbers() -> set[int]:
        found = {int(path.name) for path in place.iterdir()}
        return found if len(found) >= count else set()

    return wait_until(numbers, message=f"{count} processes have signed in")


def is_gone(number: int) -> bool:
    try:
        return bool(psutil.Process(number).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_a_killed_process_is_started_again(tmp_path: Path) -> None:
    with running(supervise(tmp_path, [python(PAUSE)])):
        (first,) = signed_in(tmp_path, 1)
        os.kill(first, signal.SIGKILL)
        (second,) = signed_in(tmp_path, 2) - {first}
        assert not is_gone(second)


def test_each_process_is_given_a_port_of_its_own(tmp_path: Path) -> None:
    place = "pathlib.Path(os.environ['PLACE'], os.environ['PORT'])"
    code = f"import os, pathlib, signal; {place}.touch(); signal.pause()"
    supervisor = Supervisor(
        [python(code), python(code, "other")],
        environment={"PLACE": str(tmp_path)},
        counts={"worker": 2},
        ports=("PORT", 9400),
    )
    with running(supervisor):
        ports = {"9400", "9401", "9402"}
        wait_until(lambda: {path.name for path in tmp_path.iterdir()} == ports)


def test_the_pause_before_a_restart_doubles(tmp_path: Path) -> None:
    with capture_logs() as logs, running(supervise(tmp_path, [python(SIGN_IN + "sys.exit(3)")])):
        signed_in(tmp_path, 3)
    died = [entry for entry in logs if entry["event"] == "process_died"]
    assert [entry["restart_in_seconds"] for entry in died[:2]] == [0.5, 1.0]
    assert died[0]["end"] == "exit 3"
    assert died[0]["process"] == "worker.1"


def test_one_that_dies_does_not_disturb_the_others(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    to_a, to_b = (
        python(f"import os; os.environ['PLACE'] += '/{name}';" + PAUSE, name) for name in "ab"
    )
    with running(supervise(tmp_path, [to_a, to_b])):
        (steady,) = signed_in(tmp_path / "b", 1)
        (killed,) = signed_in(tmp_path / "a", 1)
        os.kill(killed, signal.SIGKILL)
        signed_in(tmp_path / "a", 2)
        assert signed_in(tmp_path / "b", 1) == {steady}


def test_stop_asks_and_waits_for_processes_to_end(tmp_path: Path) -> None:
    supervisor = supervise(tmp_path, [python(POLITE)], counts={"worker": 2})
    with capture_logs() as logs, running(supervisor) as thread:
        numbers = signed_in(tmp_path, 2)
        supervisor.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()
        assert all(map(is_gone, numbers))
    assert [entry["end"] for entry in logs if entry["event"] == "process_stopped"] == ["exit 0"] * 2


def test_a_stubborn_process_is_killed_after_the_grace(tmp_path: Path) -> None:
    supervisor = supervise(tmp_path, [python(STUBBORN)], grace_seconds=0.2)
    with capture_logs() as logs, running(supervisor) as thread:
        (stubborn,) = signed_in(tmp_path, 1)
        supervisor.stop()
        thread.join(timeout=30)
        assert is_gone(stubborn)
    assert [entry["pid"] for entry in logs if entry["event"] == "process_killed"] == [stubborn]


def test_a_second_stop_does_not_wait_for_the_grace(tmp_path: Path) -> None:
    supervisor = supervise(tmp_path, [python(STUBBORN)], grace_seconds=3600)
    with running(supervisor) as thread:
        (stubborn,) = signed_in(tmp_path, 1)
        supervisor.stop()
        supervisor.stop()
        thread.join(timeout=30)
        assert is_gone(stubborn)


def test_stop_ends_the_wait_for_a_restart(tmp_path: Path) -> None:
    supervisor = supervise(tmp_path, [python(SIGN_IN)])
    with capture_logs() as logs, running(supervisor) as thread:
        wait_until(lambda: any(entry["event"] == "process_died" for entry in logs))
        supervisor.stop()
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_what_a_killed_process_had_started_dies_with_it(tmp_path: Path) -> None:
    with running(supervise(tmp_path, [python(PARENT)])):
        family = signed_in(tmp_path, 2)
        (parent,) = (each for each in family if psutil.Process(each).ppid() == os.getpid())
        (child,) = family - {parent}
        os.kill(parent, signal.SIGKILL)
        wait_until(lambda: is_gone(child), message="the orphan is gone")


def test_a_terminals_ctrl_c_does_not_reach_the_processes(tmp_path: Path) -> None:
    with running(supervise(tmp_path, [python(PAUSE)])):
        (number,) = signed_in(tmp_path, 1)
        assert os.getsid(number) == number


def test_a_count_for_a_name_that_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProcfileError, match="no process 'werker': there are worker"):
        supervise(tmp_path, [python(PAUSE)], counts={"werker": 2})


def test_a_procfile_names_commands_beside_this_python_or_on_the_path(tmp_path: Path) -> None:
    procfile = tmp_path / "Procfile"
    procfile.write_text("# comment\n\nworker: python -c 'a b' \nother: sleep 1\n")
    worker, other = read_procfile(procfile)
    assert worker == Command(
        name="worker", words=(str(Path(sys.executable).parent / "python"), "-c", "a b")
    )
    assert other.words[0].endswith("/sleep")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "names no process"),
        ("worker", "line 1: must be like `worker: streakline worker`"),
        ("\nworker:", "line 2: must be like"),
        ("worker: sleep 'a", "line 1: No closing quotation"),
        ("worker: no-such-program", "line 1: there is no program 'no-such-program'"),
        ("worker: sleep 1\nworker: sleep 2", "line 2: worker stands there twice"),
    ],
)
def test_a_procfile_that_cannot_be_run_is_named_by_its_line(
    text: str, reason: str, tmp_path: Path
) -> None:
    procfile = tmp_path / "Procfile"
    procfile.write_text(text)
    with pytest.raises(ProcfileError, match=reason):
        read_procfile(procfile)


def test_a_procfile_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProcfileError, match="Procfile cannot be read: No such file"):
        read_procfile(tmp_path / "Procfile")
