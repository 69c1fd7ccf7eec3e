"""`email …`: what they look like, what has become of each, and what is to be done about it."""

from __future__ import annotations

import threading
import webbrowser
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from jobs.send_emails import Reply
from jobs.send_emails.previews import NothingToTell, preview_email
from models.emails.messages import write_message
from models.emails.templates import Templates
from models.program import Program, read_program
from models.statements import emails as statements
from models.statements import recipients
from models.statements.emails import EmailState, StoredEmail
from worker.cli.console import (
    NO,
    Json,
    fail,
    load_settings,
    open_console_runtime,
    out,
    print_json,
    when,
)
from worker.cli.orders import Reason, UserId
from worker.clock import utc_now
from worker.previewing.previews import Preview, previewed_names, render_preview
from worker.previewing.server import Previews, serving_previews, watched_files
from worker.runtime import open_runtime
from worker.settings import Settings
from worker.templates import check_emails, load_own_templates, templates_folder

app = typer.Typer(no_args_is_help=True, help="The emails that go out.")

PORT = 8025
RETRIED_MAX = 10_000
"""Emails of a state that are tried again at once."""
RETRIED_FOR = timedelta(days=3)
"""Tried again, an email is of use for so long at the least."""


@app.command()
def preview(
    kind: Annotated[
        str | None,
        typer.Argument(help="A kind, or an email of the program by its name; without it, all."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="A user's id: what they have, instead of made-up data.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="The reader's language: de, pt-BR.")] = None,
    out_dir: Annotated[
        Path, typer.Option("--out", help="The folder for the files; it is made if need be.")
    ] = Path("emails"),
    open_: Annotated[bool, typer.Option("--open", help="Open the HTML in a browser.")] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="Show all in a browser, anew after each change.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --serve; 0 is any free.")] = PORT,
) -> None:
    """Write emails with made-up data as HTML and text, or show them all and follow changes."""
    settings = load_settings()
    if user is not None:
        if kind is None or serve or language is not None:
            fail("--user takes the name of one email, in the user's own language")
        path = _write(_of_user(settings, kind, user), out_dir)
        if open_:
            webbrowser.open(path.resolve().as_uri())
        return
    if serve:
        _serve(settings, port, open_)
        return
    program, templates = _load(settings)
    names = [kind] if kind is not None else list(previewed_names(program))
    for found in [render_preview(program, templates, name, language) for name in names]:
        path = _write(found, out_dir)
        if open_:
            webbrowser.open(path.resolve().as_uri())


@app.command("list")
def list_(
    state: Annotated[EmailState | None, typer.Option(help="Only those of a state.")] = None,
    user: Annotated[str | None, typer.Option(help="Only those to a user.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 50,
    as_json: Json = False,
) -> None:
    """List emails and what has become of them, the latest first."""
    with open_console_runtime() as runtime, runtime.engine.connect() as connection:
        found = statements.list_emails(connection, limit, state, user)
    if as_json:
        print_json({"emails": [_shape(one) for one in found]})
        return
    table = Table("id", "user", "email", "about", "state", "when (UTC)", "attempts", "reason")
    for one in found:
        at = one.settled_at or one.send_at
        words = (one.user_id, one.name, one.cause, one.state.value, when(at))
        table.add_row(str(one.email_id), *words, str(one.attempts), one.reason or "")
    out.print(table)


@app.command()
def retry(
    ids: Annotated[list[int] | None, typer.Argument(help="Emails by their ids.")] = None,
    state: Annotated[
        EmailState | None, typer.Option(help="All of a state: failed, unsure or cancelled.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send emails that were not sent, whatever was said of their addresses before."""
    if bool(ids) is (state is not None):
        fail("name emails by their ids, or all of a state with --state")
    if state not in {None, EmailState.FAILED, EmailState.UNSURE, EmailState.CANCELLED}:
        fail(f"emails that are {state} are not to be sent again")
    now = utc_now()
    with open_console_runtime() as runtime, runtime.engine.begin() as connection:
        wanted = ids or [
            one.email_id for one in statements.list_emails(connection, RETRIED_MAX, state)
        ]
        done = statements.retry(connection, wanted, now, now + RETRIED_FOR)
    if as_json:
        print_json({"emails": done})
    else:
        out.print(f"{done} emails will be sent")


@app.command()
def cancel(
    ids: Annotated[list[int], typer.Argument(help="Emails by their ids.")],
    reason: Reason,
    as_json: Json = False,
) -> None:
    """Do not send emails that are planned."""
    with open_console_runtime() as runtime, runtime.engine.begin() as connection:
        done = statements.cancel(connection, ids, reason, utc_now())
    if as_json:
        print_json({"emails": done})
    else:
        out.print(f"{done} emails will not be sent")


@app.command()
def choose(
    user_id: UserId,
    wanted: Annotated[bool, typer.Option("--wanted/--unwanted", help="What the user wants.")],
    email: Annotated[
        str | None, typer.Option(help="An email by its name; without it, all of them.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Keep whether a user wants emails, as the page does whose link is in each."""
    name = email or recipients.ALL_EMAILS
    with open_console_runtime() as runtime, runtime.engine.begin() as connection:
        recipients.choose(connection, user_id, name, wanted, utc_now())
    if as_json:
        print_json({"user_id": user_id, "email": email, "wanted": wanted})
    else:
        out.print(f"{user_id} {'wants' if wanted else 'does not want'} {email or 'emails'}")


@app.command("send-test")
def send_test(
    address: Annotated[str, typer.Argument(help="Whereto.")],
    kind: Annotated[
        str | None,
        typer.Argument(help="A kind, or an email of the program by its name; without it, all."),
    ] = None,
    language: Annotated[str | None, typer.Option(help="The reader's language: de, pt-BR.")] = None,
    as_json: Json = False,
) -> None:
    """Send emails with made-up data, now; exit 1 if one is not taken."""
    with open_console_runtime() as runtime:
        program, templates = _load(runtime.settings)
        if program.emails is None:
            fail("the program has no [emails], so nobody to send from")
        names = [kind] if kind is not None else list(previewed_names(program))
        deliveries = {}
        for name in names:
            found = render_preview(program, templates, name, language)
            message = write_message(
                sender=program.emails.from_,
                address=address,
                name=None,
                key=f"test:{name}:{utc_now().isoformat()}",
                subject=found.rendered.subject,
                html=found.rendered.html,
                text=found.rendered.text,
                unsubscribe_url=f"mailto:{address}",
                now=utc_now(),
            )
            deliveries[name] = runtime.mailer.deliver(message)
    if as_json:
        shown = {name: [one.reply.value, one.words] for name, one in deliveries.items()}
        print_json({"emails": shown})
    else:
        for name, one in deliveries.items():
            out.print(f"{name}: {one.words}", soft_wrap=True)
    if any(one.reply is not Reply.TAKEN for one in deliveries.values()):
        raise typer.Exit(NO)


def _of_user(settings: Settings, name: str, user_id: str) -> Preview:
    with open_runtime(settings) as runtime, runtime.engine.connect() as connection:
        rules = runtime.rulebooks.current(connection)
        renderer = runtime.mailer.renderer(connection)
        url = runtime.mailer.links().unsubscribe
        try:
            rendered = preview_email(connection, rules, renderer, name, user_id, url, utc_now())
        except NothingToTell as error:
            fail(str(error), NO)
        message = next(one for one in rules.latest.mailing.rules if one.name == name)
        return Preview(name=name, kind=message.kind.value, rendered=rendered)


def _shape(email: StoredEmail) -> dict[str, Any]:
    return {
        "id": email.email_id,
        "user_id": email.user_id,
        "email": email.name,
        "kind": email.kind,
        "cause": email.cause,
        "state": email.state.value,
        "send_at": email.send_at,
        "attempts": email.attempts,
        "address": email.address,
        "message_id": email.message_id,
        "reason": email.reason,
        "planned_at": email.planned_at,
        "settled_at": email.settled_at,
    }


def _load(settings: Settings) -> tuple[Program, Templates]:
    program = read_program(settings.program)
    check_emails(settings, program, settings.program)
    return program, load_own_templates(settings, program, settings.program)


def _write(found: Preview, out_dir: Path) -> Path:
    """Write an email as two files, print their paths, and return that of the HTML."""
    out_dir.mkdir(parents=True, exist_ok=True)
    html, text = out_dir / f"{found.name}.html", out_dir / f"{found.name}.txt"
    html.write_text(found.rendered.html, encoding="utf-8")
    text.write_text(f"{found.rendered.subject}\n\n{found.rendered.text}", encoding="utf-8")
    out.print(f"{html}\n{text}", soft_wrap=True)
    return html


def _serve(settings: Settings, port: int, open_: bool) -> None:
    previews = Previews(
        load=lambda: _load(settings),
        watched=lambda: watched_files(
            settings.program, templates_folder(settings, settings.program)
        ),
    )
    with serving_previews(previews, port) as url:
        out.print(f"{url} (Ctrl-C ends it)", soft_wrap=True)
        if open_:
            webbrowser.open(url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
