"""Users who are to be folded anew are found by the stamp of who folded them, without all others."""

from models.migrations.indexes import build_index

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    build_index("users", "stamp")
