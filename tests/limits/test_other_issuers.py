"""Callers whose tokens another issuer signed are told apart like our own."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from meshkit.trusted_issuers import TrustedIssuer
from tests.limits.running_limits import Limits, running_limits
from tests.limits.test_limits import CALL, told
from tests.meshkit.test_trusted_issuers import Provider, entry

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("other-issuers")]

ADDRESSES = ("127.0.4.1", "127.0.4.2")


@pytest.fixture(scope="module")
def corp() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def trusting(corp: Provider, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Limits]:
    """An edge and limits that trust the issuer, whose callers have the plan premium: 40 calls an hour."""
    async with running(corp, tmp_path_factory.mktemp("issuers")) as limits:
        yield limits


@asynccontextmanager
async def running(corp: Provider, folder: Path, **settings: Any) -> AsyncIterator[Limits]:
    issuers = [entry(corp, plan="premium")]
    plans: dict[str, Any] = {
        "public_requests_per_hour": 5,
        "premium_requests_per_hour": 40,
        "trusted_issuers": json.dumps(issuers),
    }
    known = [TrustedIssuer(**each) for each in issuers]
    async with running_limits(folder, plans=plans, trusted_issuers=known, **settings) as limits:
        async with asyncio.timeout(20), limits.client("127.0.4.250", **bearer(corp, sub="first")) as client:
            # Envoy tells nobody that it has the keys.
            while (await client.get(CALL)).headers.get("x-ratelimit-limit") != "40":  # noqa: ASYNC110 -- as above
                await asyncio.sleep(0.05)
        yield limits


def bearer(provider: Provider, **claims: Any) -> dict[str, str]:
    return {"authorization": f"Bearer {provider.token(**claims)}"}


async def test_its_caller_is_one_from_wherever_and_with_whatever_token(trusting: Limits, corp: Provider) -> None:
    left = []
    for address in ADDRESSES:
        async with trusting.client(address, **bearer(corp, sub="wandering")) as client:
            left += [told(await client.get(CALL)) for _ in range(2)]
    assert left == [(40, 39), (40, 38), (40, 37), (40, 36)]


async def test_its_callers_do_not_use_up_each_others_limit(trusting: Limits, corp: Provider) -> None:
    async with trusting.client(ADDRESSES[0]) as client:
        for claims in ({"sub": "one"}, {"sub": "two"}, {"sub": "one", "org": "acme-labs"}):
            assert told(await client.get(CALL, headers=bearer(corp, **claims))) == (40, 39)


async def test_no_account_of_theirs_is_one_of_ours(trusting: Limits, corp: Provider) -> None:
    async with trusting.client(ADDRESSES[0]) as client:
        ours = trusting.bearer("shared", tenant="acme", plan="premium")
        assert told(await client.get(CALL, headers=ours)) == (40, 39)
        assert told(await client.get(CALL, headers=bearer(corp, sub="shared"))) == (40, 39)


async def test_their_tenants_own_limit_holds(trusting: Limits, corp: Provider) -> None:
    trusting.store.hset("geomesh:limits:acme-labs", "requests_per_hour", 3)
    try:
        async with trusting.client(ADDRESSES[0], **bearer(corp, sub="limited", org="acme-labs")) as client:
            assert [told(await client.get(CALL)) for _ in range(3)] == [(3, 2), (3, 1), (3, 0)]
            assert (await client.get(CALL)).status_code == 429
    finally:
        trusting.store.delete("geomesh:limits:acme-labs")


@pytest.mark.parametrize(
    ("place", "claims"),
    [
        (1, {"org": "somebody-elses"}),
        (2, {"without": "org"}),
        (3, {"aud": "another"}),
        (4, {"exp": 1_000_000_000}),
        (5, {"iss": "https://elsewhere.example"}),
        (6, {"sub": 7}),
    ],
)
async def test_what_does_not_count_there_is_counted_by_address(
    trusting: Limits, corp: Provider, place: int, claims: dict[str, Any]
) -> None:
    async with trusting.client(f"127.0.4.1{place}", **bearer(corp, **claims)) as client:
        assert [told(await client.get(CALL)) for _ in range(2)] == [(5, 4), (5, 3)]


async def test_whoever_signs_in_its_name_is_counted_by_address(trusting: Limits, corp: Provider) -> None:
    forger = Provider()
    try:
        forged = forger.token(iss=corp.issuer, sub="wandering")
    finally:
        forger.close()
    async with trusting.client("127.0.4.20", authorization=f"Bearer {forged}") as client:
        response: httpx.Response = await client.get(CALL)
    assert told(response) == (5, 4)


async def test_its_callers_have_buckets_of_their_own(corp: Provider, tmp_path: Path) -> None:
    buckets: Any = {"subject_calls_per_second": 1, "burst_seconds": 4}
    async with running(corp, tmp_path, **buckets) as limits:

        async def passed(address: str, subject: str) -> int:
            async with limits.client(address, **bearer(corp, sub=subject)) as client:
                responses = await asyncio.gather(*(client.get(CALL) for _ in range(12)))
            return sum(response.status_code == 200 for response in responses)

        assert 4 <= await passed("127.0.4.31", "a") <= 7
        assert await passed("127.0.4.32", "a") <= 4  # from wherever the account calls
        assert 4 <= await passed("127.0.4.31", "b") <= 7
