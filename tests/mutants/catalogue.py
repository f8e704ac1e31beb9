"""Every promise that `make mutants` breaks."""

from tests.mutants import acting, api_keys, calls, claims, keeping, late, names, reading, running

MUTATIONS = (
    *claims.MUTATIONS,
    *names.MUTATIONS,
    *running.MUTATIONS,
    *keeping.MUTATIONS,
    *api_keys.MUTATIONS,
    *late.MUTATIONS,
    *calls.MUTATIONS,
    *acting.MUTATIONS,
    *reading.MUTATIONS,
)
