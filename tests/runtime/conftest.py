from collections.abc import Iterator

import pytest
import sentry_sdk

from runtime.sentry import start_sentry
from tests.runtime.recording import DSN, Recorder


@pytest.fixture
def stopped() -> Iterator[None]:
    """Each test starts Sentry itself, in a process that goes on without."""
    with sentry_sdk.isolation_scope():
        yield
    sentry_sdk.get_client().close(timeout=0)
    scope = sentry_sdk.get_global_scope()
    scope.set_client(None)
    scope.clear()


@pytest.fixture
def recorder(stopped: None) -> Recorder:
    assert stopped is None
    start_sentry(DSN, "worker", "test", "1.2.3")
    recorder = Recorder()
    sentry_sdk.get_client().transport = recorder
    return recorder
