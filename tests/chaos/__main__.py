"""Chaos by command: runs with seeds, some at a time, each with a line, and all in a log.

    python -m tests.chaos --seed 1 --seconds 60 --runs 10 --parallel 2 --log docs/chaos-runs.md

The first run has the seed, the next one the one after it. What a run that failed was, its seed
says; its logs and data stay in the directory that is printed. Ends with 1 if any failed.

    python -m tests.chaos --recovery

measures how long it takes after each kind of fault until all is as before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.recovery import as_table, measure
from tests.chaos.run import LOG_HEAD, run_seeds
from tests.chaos.servers import BrokerKind


def main() -> int:
    """Do what the command line says; return the exit code."""
    words = _parse()
    if words.recovery:
        with tempfile.TemporaryDirectory(prefix="streakline-recovery-") as directory:
            _say(as_table(list(measure(Path(directory) / "run"))))
        return 0
    seeds = [(words.seed + number, words.broker) for number in range(words.runs)]
    failed = 0
    for outcome, kept in run_seeds(seeds, words.seconds, parallel=words.parallel):
        failed += not outcome.is_good
        _say(outcome.as_line())
        for difference in outcome.differences:
            _say(f"    {difference}")
        if kept is not None:
            _say(f"    kept: {kept}")
        if words.log is not None:
            with words.log.open("a", encoding="utf-8") as log:
                log.write(("" if log.tell() else LOG_HEAD) + outcome.as_row())
    _say(f"{words.runs} runs, {failed} failed")
    return int(failed > 0)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command's output


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--broker", type=BrokerKind, default=BrokerKind.VALKEY, help="or rabbitmq")
    parser.add_argument("--seconds", type=float, default=60.0, help="in which things go wrong")
    parser.add_argument("--runs", type=int, default=1, help="how many, with ascending seeds")
    parser.add_argument("--parallel", type=int, default=1, help="how many at a time")
    parser.add_argument("--log", type=Path, help="a page to which a row for each run is added")
    parser.add_argument("--recovery", action="store_true", help="measure recovery times instead")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
