class MigrationRefused(Exception):
    """Why nothing was migrated and what to do about it, in one sentence for the operator."""
