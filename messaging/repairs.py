"""The sweeps that make the schedule right again, whatever lost a flag or forgot a hold."""

from datetime import timedelta
from uuid import UUID

from runtime.database import Database

STEP = 500  # registrations in one round trip
GRACE = timedelta(seconds=5)  # a schedule row may lag behind its messages so long before it counts as lost
START = UUID(int=0)

REPAIR = "SELECT tenant_id, registration_id, mended FROM app.repair_schedule_v1($1, $2, $3, $4)"


async def repair_schedule(database: Database, grace: timedelta = GRACE) -> int:
    """Walk every registration that ever had work, once; gives how many flags were mended."""
    mended, after = 0, (START, START)
    while True:
        tenant, registration, found = (await database.call_for_many(REPAIR, *after, STEP, grace))[0]
        mended += found
        if tenant is None:
            return int(mended)
        after = (tenant, registration)


async def release_holds(database: Database) -> int:
    """Registrations whose reason to be held is gone go on; gives how many."""
    released: int = (await database.call_for_many("SELECT app.release_holds_v1()"))[0][0]
    return released
