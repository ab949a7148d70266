"""Callers with tokens of another issuer are counted as who they are here, and as nobody else."""

import json
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.limits.running_limits import Limits, running_limits
from tests.meshkit.test_trusted_issuers import Provider, entry

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def limits(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Limits]:
    trusted = [entry(provider, plan="premium")]
    plans = {"premium_requests_per_hour": 50, "public_requests_per_hour": 5, "trusted_issuers": json.dumps(trusted)}
    async with running_limits(tmp_path_factory.mktemp("issuers"), plans=plans, trusted_issuers=trusted) as limits:
        async with limits.client("127.0.0.251") as client:
            while await told(client, provider.token(sub="first")) != (50, 49):  # until Envoy has fetched the keys
                await client.get("/livez")
                limits.store.flushdb()
        yield limits


async def told(client: object, token: str) -> tuple[int, int]:
    """Returns the limit of a caller, and what is left of it."""
    answer = await client.get("/v1/cells/x", headers={"authorization": f"Bearer {token}"})  # type: ignore[attr-defined]
    return int(answer.headers["x-ratelimit-limit"]), int(answer.headers["x-ratelimit-remaining"])


async def test_the_plan_is_that_of_the_settings_and_the_count_the_callers_own(
    limits: Limits, provider: Provider
) -> None:
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    async with limits.client("127.0.3.1") as client:
        assert await told(client, provider.token(sub=one)) == (50, 49)
        assert await told(client, provider.token(sub=one, plan="enterprise")) == (50, 48)
        assert await told(client, provider.token(sub=other)) == (50, 49)
        assert await told(client, provider.token(sub=one, org="acme-labs")) == (50, 49)


async def test_an_account_of_ours_with_the_same_name_is_counted_apart(limits: Limits, provider: Provider) -> None:
    name = uuid.uuid4().hex
    async with limits.client("127.0.3.2") as client:
        assert await told(client, limits.forger.token(sub=name, tenant="acme", plan="premium")) == (50, 49)
        assert await told(client, provider.token(sub=name)) == (50, 49)
        # What an account of theirs is called here is not a name that one of ours could take to be counted as it.
        assert await told(client, limits.forger.token(sub=name, tenant="acme", plan="premium")) == (50, 48)


@pytest.mark.parametrize(
    ("changes", "address"),
    [({"org": "other"}, "127.0.3.3"), ({"org": "public"}, "127.0.3.4"), ({"aud": "x"}, "127.0.3.5")],
    ids=str,
)
async def test_who_is_nobody_here_is_counted_by_address(
    limits: Limits, provider: Provider, changes: dict[str, str], address: str
) -> None:
    async with limits.client(address) as client:
        assert await told(client, provider.token(sub=uuid.uuid4().hex, **changes)) == (5, 4)
        assert await told(client, provider.token(sub=uuid.uuid4().hex, **changes)) == (5, 3)
