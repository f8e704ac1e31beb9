"""Everything from zero: roles' grants, row security, the outbox, the ledger and the fast paths' functions."""

from alembic import context, op
from sqlalchemy import text

from migrations.refusal import MigrationRefused
from migrations.scripts import run_folder, run_script

revision = "0001"
down_revision = None

# what the role is, or may become by SET ROLE, that row security does not bind or that could lift it
TOO_STRONG = text("""
SELECT CASE WHEN r.rolsuper THEN 'a superuser' WHEN r.rolbypassrls THEN 'a role that bypasses row security'
            WHEN r.rolname = current_user THEN 'the owner of the tables' WHEN r.rolreplication THEN 'a role that reads all changes'
            WHEN r.rolcreaterole THEN 'a role that makes roles' ELSE 'the owner of the database' END
FROM pg_roles AS r
WHERE pg_has_role(:role, r.oid, 'MEMBER')
  AND (r.rolsuper OR r.rolbypassrls OR r.rolreplication OR r.rolcreaterole OR r.rolname = current_user
       OR r.oid = (SELECT d.datdba FROM pg_database AS d WHERE d.datname = current_database()))
ORDER BY r.rolsuper DESC, r.rolbypassrls DESC, r.rolname LIMIT 1
""")


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
    if role == connection.execute(text("SELECT current_user")).scalar_one():
        raise MigrationRefused(
            "TRUNKLINE_DATABASE_URL and TRUNKLINE_DATABASE_OWNER_URL name the same role; the application may not own its tables."
        )
    if connection.execute(text("SELECT true FROM pg_roles WHERE rolname = :role"), {"role": role}).scalar():
        strength = connection.execute(TOO_STRONG, {"role": role}).scalar()
        if strength:
            raise MigrationRefused(f"The role {role} is or may become {strength}; TRUNKLINE_DATABASE_URL needs a role of its own.")
        return
    quoted = connection.dialect.identifier_preparer.quote_identifier(role)
    literal = connection.execute(text("SELECT quote_literal(:password)"), {"password": password or ""}).scalar_one()
    run_script(connection, f"CREATE ROLE {quoted} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD {literal}")
    if not connection.execute(text("SELECT has_database_privilege(:role, current_database(), 'CONNECT')"), {"role": role}).scalar():
        database = connection.execute(text("SELECT quote_ident(current_database())")).scalar_one()
        run_script(connection, f"GRANT CONNECT ON DATABASE {database} TO {quoted}")
