"""Every Vapi message in the tenant's own time: answers from the tenant's configuration, whole call records, more credentials and tools."""

from alembic import context

from migrations.scripts import run_folder

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_folder("0003", context.config.attributes["app_role"])


def downgrade() -> None:
    run_folder("0003_down", context.config.attributes["app_role"], backwards=True)
