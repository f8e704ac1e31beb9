"""Every promise that `make mutants` breaks."""

from tests.mutants import api_keys, claims, keeping, late, names, reading, running

MUTATIONS = (
    *claims.MUTATIONS,
    *names.MUTATIONS,
    *running.MUTATIONS,
    *keeping.MUTATIONS,
    *api_keys.MUTATIONS,
    *late.MUTATIONS,
    *reading.MUTATIONS,
)
