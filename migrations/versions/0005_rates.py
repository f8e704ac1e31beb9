"""Within the rules: what Twilio teaches, what the operator decides, and what is tried again."""

from alembic import context

from migrations.scripts import run_folder

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_folder("0005", context.config.attributes["app_role"])


def downgrade() -> None:
    run_folder("0005_down", context.config.attributes["app_role"], backwards=True)
