"""Everything from zero: roles' grants, row security, the outbox, the ledger and the fast paths' functions."""

from alembic import context, op
from sqlalchemy import text

from migrations.scripts import run_folder, run_script

revision = "0001"
down_revision = None


def upgrade() -> None:
    attributes = context.config.attributes
    role: str = attributes["app_role"]
    make_role(role, attributes.get("app_password"))
    run_folder("0001", role)


def downgrade() -> None:
    run_script(
        op.get_bind(),
        "DROP TABLE usage_events, subscriptions, opt_outs, message_events, messages, calls, processed_webhooks, senders, registrations,"
        " webhook_credentials, assistants; DROP SCHEMA control CASCADE; DROP SCHEMA app CASCADE;",
    )


def make_role(role: str, password: str | None) -> None:
    """The application's role, where the operator has not made it: it owns nothing and row security binds it."""
    connection = op.get_bind()
    found = connection.execute(text("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar()
    if found:
        raise RuntimeError(f"The role {role} is a superuser or bypasses row security; TRUNKLINE_DATABASE_URL needs a role of its own.")
    owner = connection.execute(text("SELECT current_user")).scalar_one()
    if role == owner:
        raise RuntimeError(
            "TRUNKLINE_DATABASE_URL and TRUNKLINE_DATABASE_OWNER_URL name the same role; the application may not own its tables."
        )
    if found is None:
        quoted = connection.dialect.identifier_preparer.quote_identifier(role)
        literal = connection.execute(text("SELECT quote_literal(:password)"), {"password": password or ""}).scalar_one()
        run_script(connection, f"CREATE ROLE {quoted} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD {literal}")
