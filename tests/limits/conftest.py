"""What the tests here share: one edge with limits, whose callers are new in every test."""

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.limits.running_limits import Limits, running_limits

_CALLERS = itertools.count(1)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _shared_limits(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Limits]:
    # How long the edge and the limits service wait is not what these tests ask, and this machine may be busy.
    patient = {"redis_patience_seconds": 5}
    folder = tmp_path_factory.mktemp("limits")
    async with running_limits(folder, plans=PLANS | patient, cors_origins=[PAGE], limits_timeout_seconds=5) as limits:
        yield limits


PAGE = "https://example.org"
PLANS = {"public_requests_per_hour": 5, "user_requests_per_hour": 100, "sign_ins_per_hour": 7}


@pytest_asyncio.fixture(loop_scope="session")
async def limits(_shared_limits: Limits) -> Limits:
    """An edge whose public plan allows 5 calls an hour, and whose plan for users 100."""
    _shared_limits.backend.metadata = {}
    return _shared_limits


@pytest.fixture
def number() -> int:
    """A number that no other test has."""
    return next(_CALLERS)


@pytest.fixture
def address(number: int) -> str:
    """One of this machine's addresses, from which no other test calls."""
    return f"127.0.1.{number}"


@pytest.fixture
def subject(number: int) -> str:
    """An account that no other test has."""
    return f"account-{number}"
