"""How many questions a permit allows, in the derived table of permits; no state changes."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """The projection writes the rows of derived tables again."""
