"""`python -m tests.benchmarks [NAME…]`: measure, print a table, write build/bench.json.

It never judges a time: rates follow the machine. It fails only where a benchmark does not come to
its end; what the others measured is kept.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial

from tests.benchmarks import (
    backfills,
    checks,
    emails,
    enqueue,
    imports,
    limits,
    live,
    loading,
    one_user,
    outrun,
    rates,
    reads,
    sweeps,
    users,
    warehouse,
)
from tests.benchmarks.harness import Figure
from tests.benchmarks.report import print_table, shown, write_json, write_page

BENCHMARKS: dict[str, Callable[[bool], Iterable[Figure]]] = {
    "rates": rates.run,
    "limits": limits.run,
    "enqueue": enqueue.run,
    "users": users.run,
    "one_user": one_user.run,
    "reads": reads.run,
    "checks": checks.run,
    "live": live.run,
    "outrun": outrun.run,
    "sweeps": sweeps.run,
    "backfills": backfills.run,
    "imports": imports.run,
    "emails": emails.run,
    "loading": loading.run,
    "warehouse": warehouse.run,
}


def main() -> None:
    """Run the benchmarks that the command line names, or all."""
    arguments = _arguments()
    # So that servers and processes end with us also when we are told to stop.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    benchmarks = BENCHMARKS | {"imports": partial(imports.run, events=arguments.import_events)}
    results, failed = {}, []
    for name in arguments.names or BENCHMARKS:
        try:
            results[name] = _run(benchmarks[name](arguments.quick), name)
        except Exception:
            # An hour of the others is not lost with it.
            traceback.print_exc()
            failed.append(name)
    print_table(results)
    if not arguments.quick:
        print(write_json(results))  # noqa: T201 - a command's output
    if arguments.docs:
        print(write_page(results))  # noqa: T201
    if failed:
        sys.exit(f"did not come to their end: {', '.join(failed)}")


def _run(measured: Iterable[Figure], name: str) -> list[Figure]:
    figures = []
    for figure in measured:
        line = f"{name}: {figure.name}: {shown(figure.value)} {figure.unit}"
        print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress: all of it takes minutes
        figures.append(figure)
    return figures


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], help="default: all")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it works; written nowhere"
    )
    parser.add_argument(
        "--import-events", type=int, default=imports.EVENTS, help="how many `imports` has"
    )
    parser.add_argument(
        "--docs", action="store_true", help="renew these sections of docs/benchmarks.md, too"
    )
    arguments = parser.parse_args()
    if arguments.docs and arguments.quick:
        parser.error("--docs needs figures at full size")
    return arguments


if __name__ == "__main__":
    main()
