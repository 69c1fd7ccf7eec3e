"""Who gets emails: addresses, what users want, where none can be delivered, the key of links."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects.postgresql import insert

from models.statements.rows import arrays, one_of, upsert_given
from models.tables import email_choices, refused_addresses, signing_keys, user_fields

ALL_EMAILS = ""
"""What a choice names that is about all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """What is known of who is to get an email: fields as they were told, and choices."""

    fields: Mapping[str, str]
    refused: str | None
    unwanted: frozenset[str]

    def wants(self, name: str) -> bool:
        """Tell whether no choice of the user's is against it."""
        return self.unwanted.isdisjoint((name, ALL_EMAILS))


_FIELDS = select(user_fields.c.user_id, user_fields.c.field, user_fields.c.value).where(
    one_of(user_fields.c.user_id, "user_ids")
)
_REFUSED = select(refused_addresses).where(one_of(refused_addresses.c.address, "addresses"))
_UNWANTED = select(email_choices.c.user_id, email_choices.c.name).where(
    one_of(email_choices.c.user_id, "user_ids"), ~email_choices.c.wanted
)
_MARK_REFUSED = upsert_given(refused_addresses, "address", "reply", "refused_at")
_CHOOSE = upsert_given(email_choices, "user_id", "name", "wanted", "chosen_at")
_FORGIVE = refused_addresses.delete().where(one_of(refused_addresses.c.address, "addresses"))
_ADD_KEY = insert(signing_keys).on_conflict_do_nothing()
_KEY = select(signing_keys.c.key).where(signing_keys.c.purpose == bindparam("purpose"))


def read_recipients(connection: Connection, user_ids: Iterable[str]) -> dict[str, Recipient]:
    """Return what is known of users who are to get emails: three statements."""
    asked = {"user_ids": sorted(set(user_ids))}
    fields: dict[str, dict[str, str]] = {user_id: {} for user_id in asked["user_ids"]}
    for row in connection.execute(_FIELDS, asked):
        fields[row.user_id][row.field] = row.value
    unwanted: dict[str, set[str]] = {}
    for user_id, name in connection.execute(_UNWANTED, asked):
        unwanted.setdefault(user_id, set()).add(name)
    addresses = [of["email"] for of in fields.values() if "email" in of]
    refused = {
        row.address: row.reply for row in connection.execute(_REFUSED, {"addresses": addresses})
    }
    return {
        user_id: Recipient(
            fields=of,
            refused=refused.get(of.get("email", "")),
            unwanted=frozenset(unwanted.get(user_id, ())),
        )
        for user_id, of in fields.items()
    }


def mark_refused(connection: Connection, replies: Mapping[str, str], now: datetime) -> None:
    """Keep the addresses that a server has refused for good, with its words."""
    rows = [(address, reply, now) for address, reply in sorted(replies.items())]
    connection.execute(_MARK_REFUSED, arrays(("address", "reply", "refused_at"), rows))


def choose(connection: Connection, user_id: str, name: str, wanted: bool, now: datetime) -> None:
    """Keep whether a user wants an email of the program; with ALL_EMAILS, any."""
    rows = [(user_id, name, wanted, now)]
    connection.execute(_CHOOSE, arrays(("user_id", "name", "wanted", "chosen_at"), rows))


def forgive(connection: Connection, addresses: Sequence[str]) -> None:
    """Forget that addresses were refused."""
    if addresses:
        connection.execute(_FORGIVE, {"addresses": addresses})


def read_key(connection: Connection, purpose: str, new: bytes) -> bytes:
    """Return the key by which something is signed: `new` where there was none yet."""
    key: bytes | None = connection.execute(_KEY, {"purpose": purpose}).scalar()
    if key is None:
        connection.execute(_ADD_KEY, {"purpose": purpose, "key": new})
        # another process may have added its own at the same moment
        key = connection.execute(_KEY, {"purpose": purpose}).scalar_one()
    return bytes(key)
