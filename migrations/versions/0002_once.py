"""Idempotency that survives everything: runs with lease and fence, dead letters, tenants' own tools, kept bodies, late calls."""

from alembic import context

from migrations.scripts import run_folder

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_folder("0002", context.config.attributes["app_role"])


def downgrade() -> None:
    run_folder("0002_down", context.config.attributes["app_role"], backwards=True)
