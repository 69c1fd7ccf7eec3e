"""Emails: planned, sent, refused; and who wants none."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"

ID = sa.Text(collation="C")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("users", sa.Column("mail_at", INSTANT, nullable=True))
    op.create_index(
        op.f("ix_users_mail_at"),
        "users",
        ["mail_at"],
        postgresql_where=sa.text("mail_at is not null"),
    )
    op.create_table(
        "emails",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("cause", ID, nullable=False),
        sa.Column("email_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("kind", ID, nullable=False),
        sa.Column("body", JSONB(), nullable=False),
        sa.Column("send_at", INSTANT, nullable=False),
        sa.Column("useless_at", INSTANT, nullable=False),
        sa.Column("state", ID, nullable=False),
        sa.Column("attempts", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("planned_at", INSTANT, nullable=False),
        sa.Column("settled_at", INSTANT, nullable=True),
        sa.Column("txid", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "name", "cause", name=op.f("pk_emails")),
        sa.UniqueConstraint("email_id", name=op.f("uq_emails_email_id")),
    )
    op.create_index(
        op.f("ix_emails_send_at"),
        "emails",
        ["send_at"],
        postgresql_where=sa.text("state in ('planned', 'sending')"),
    )
    op.create_index(op.f("ix_emails_state_settled_at"), "emails", ["state", "settled_at"])
    op.create_index(op.f("ix_emails_txid"), "emails", ["txid"])
    # One that is sent after all comes to another end: the first is taken back (0006).
    op.execute(
        "create trigger keep_updated after update on emails "
        "referencing old table as gone for each statement execute function keep_removed()"
    )
    op.create_table(
        "cursors",
        sa.Column("reader", ID, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("reader", name=op.f("pk_cursors")),
    )
    op.create_table(
        "email_choices",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", ID, nullable=False),
        sa.Column("wanted", sa.Boolean(), nullable=False),
        sa.Column("chosen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "name", name=op.f("pk_email_choices")),
    )
    op.create_table(
        "refused_addresses",
        sa.Column("address", ID, nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("refused_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("address", name=op.f("pk_refused_addresses")),
    )
    op.create_table(
        "signing_keys",
        sa.Column("purpose", ID, nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("purpose", name=op.f("pk_signing_keys")),
    )
