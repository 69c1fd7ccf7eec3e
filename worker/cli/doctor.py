"""`doctor`: what is well, and what to do where something is not."""

from __future__ import annotations

import typer
from rich.text import Text

from worker.checks import run_checks
from worker.cli.console import NO, Json, open_console_runtime, out, print_json


def doctor(as_json: Json = False) -> None:
    """Check connections, versions, clocks, program and lag; exit 1 if anything is not well."""
    with open_console_runtime() as runtime:
        findings = run_checks(runtime)
    well = all(finding.ok for finding in findings)
    if as_json:
        checks = [{"check": item.check, "ok": item.ok, "detail": item.detail} for item in findings]
        print_json({"ok": well, "checks": checks})
    else:
        for finding in findings:
            mark = ("ok  ", "green") if finding.ok else ("look", "red")
            out.print(Text.assemble(mark, f" {finding.check}: {finding.detail}"))
    raise typer.Exit(0 if well else NO)
