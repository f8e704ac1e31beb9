"""Within the rules: days that are used up, quiet hours, and what waits to be sent."""

from alembic import context

from migrations.scripts import run_folder

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_folder("0004", context.config.attributes["app_role"])


def downgrade() -> None:
    run_folder("0004_down", context.config.attributes["app_role"], backwards=True)
