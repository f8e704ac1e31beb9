"""Within the rules: what Twilio teaches about a sender, quiet hours, whom a tenant may text and how often."""

from alembic import context

from migrations.scripts import run_folder

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_folder("0004", context.config.attributes["app_role"])


def downgrade() -> None:
    run_folder("0004_down", context.config.attributes["app_role"], backwards=True)
