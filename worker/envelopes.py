"""What a message must be before any of it is used: a worker takes whatever comes as hostile.

Whoever may write to the broker may write anything. Here it is decided whether that is a message for
one of our actors, of a size and a depth that can be handled. What it carries is judged further on,
item by item, so that one bad event does not take the good ones with it. Nothing but JSON is read.

Of Dramatiq's options only those count that we use ourselves: others would have it try a message for
ever, hold it for years, or end the thread that it runs in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from dramatiq import Actor, Message
from dramatiq.common import q_name

from streakline.contract import EVENTS_PER_MESSAGE_MAX
from streakline.fields import check_text, shown
from worker.retries import MalformedMessage, UnknownActor

EVENT_BYTES_MAX = 80 * 1024
"""Two times 4 KiB of attributes, each byte written as six (`\\u0001`), and six texts of 255
characters, each written as twelve bytes, with what stands between them."""
MESSAGE_BYTES_MAX = EVENTS_PER_MESSAGE_MAX * EVENT_BYTES_MAX
DEPTH_MAX = 64
"""An event's attributes are the sixth level. Python writes and Postgres keeps some hundreds."""
DELAY_MILLISECONDS_MAX = 30 * 24 * 60 * 60 * 1_000
"""Ours are delayed by minutes, and by days where a backfill may do little; what is delayed waits in
the memory of a worker."""
RETRIES_COUNTED_MAX = 1_000_000


class TakenMessage(Message[Any]):
    """A message as a worker holds it; Dramatiq's logs name it by its id.

    What it carries is somebody's data.
    """

    def __str__(self) -> str:
        return f"{self.actor_name}({self.message_id})"


class _Fields(msgspec.Struct, forbid_unknown_fields=True):
    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: Annotated[int, msgspec.Meta(ge=0)]


def open_envelope(
    body: bytes, actors: Mapping[str, Actor[Any, Any]], queue_name: str, now_milliseconds: int
) -> TakenMessage:
    """Return the message that was found on a queue; its name there is the one that counts.

    Raises MalformedMessage, and UnknownActor where all is well but for that.
    """
    fields = _read(body)
    actor = actors.get(fields.actor_name)
    queue_of_actor = q_name(fields.queue_name) if actor is None else actor.queue_name
    if queue_of_actor != q_name(queue_name):
        raise MalformedMessage(
            f"actor {shown(fields.actor_name)} belongs to the queue {shown(queue_of_actor)}, "
            f"not {queue_name}"
        )
    if actor is None:
        raise UnknownActor(fields.actor_name)
    return TakenMessage(
        queue_name=queue_name,
        actor_name=fields.actor_name,
        args=tuple(fields.args),
        kwargs=fields.kwargs,
        options=_our_options(fields.options, now_milliseconds),
        message_id=fields.message_id,
        message_timestamp=fields.message_timestamp,
    )


def read_id(held_id: bytes) -> str:
    """Return the id under which Redis has a message. Raises MalformedMessage."""
    try:
        return held_id.decode()
    except UnicodeDecodeError as error:
        raise MalformedMessage(f"lies under an id that is no text: {error}") from None


def _read(body: bytes) -> _Fields:
    if len(body) > MESSAGE_BYTES_MAX:
        raise MalformedMessage(f"has {len(body)} bytes; at most {MESSAGE_BYTES_MAX} are allowed")
    try:
        data = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MalformedMessage(f"is no JSON that can be read: {error}") from None
    if _is_deep(data):
        raise MalformedMessage(f"is nested more than {DEPTH_MAX} deep")
    try:
        fields = msgspec.convert(data, _Fields)
        check_text("actor_name", fields.actor_name)
        check_text("message_id", fields.message_id)
    except (msgspec.ValidationError, ValueError) as error:  # of half a character, too
        raise MalformedMessage(f"is no message: {error}") from None
    return fields


def _is_deep(data: object) -> bool:
    """Tell whether lists and objects are nested more than DEPTH_MAX deep."""
    layer: list[Any] = [[data]]
    for _ in range(DEPTH_MAX + 1):
        layer = [
            part
            for whole in layer
            for part in (whole.values() if type(whole) is dict else whole)
            if type(part) is dict or type(part) is list
        ]
        if not layer:
            return False
    return True


def _our_options(options: Mapping[str, Any], now_milliseconds: int) -> dict[str, Any]:
    ours: dict[str, Any] = {}
    retries, eta = options.get("retries"), options.get("eta")
    if type(retries) is int:
        ours["retries"] = min(max(retries, 0), RETRIES_COUNTED_MAX)
    if type(eta) is int:
        if eta > now_milliseconds + DELAY_MILLISECONDS_MAX:
            raise MalformedMessage("its eta is more than 30 days ahead")
        ours["eta"] = max(eta, 0)
    return ours
