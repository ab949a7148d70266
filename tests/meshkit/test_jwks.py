"""The keys of the auth service, as a service keeps them."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from meshkit.errors import Unavailable
from meshkit.health import State
from meshkit.jwks import JwksClient
from tests.meshkit.forging import Forger, settings


class Publisher:
    """Publishes what a test sets, and counts how often it is asked."""

    def __init__(self, *entries: Mapping[str, Any]) -> None:
        self.answer: Mapping[str, Any] | Exception = {"keys": list(entries)}
        self.asked = 0
        self.asked_again = asyncio.Event()

    async def fetch(self) -> Mapping[str, Any]:
        """Answers."""
        self.asked += 1
        if self.asked > 1:
            self.asked_again.set()
        await asyncio.sleep(0)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def client(publisher: Publisher, refetch_seconds: float = 0.0, **changes: Any) -> JwksClient:
    """Returns a client that asks again at once for an unknown key."""
    return JwksClient(settings(jwks_refetch_seconds=refetch_seconds, **changes), publisher.fetch)


async def test_finds_a_published_key() -> None:
    publisher = Publisher(Forger("a").jwk(), Forger("b").jwk())
    keys = client(publisher)
    found = await keys.find("b")
    assert found is not None
    assert found.algorithm == "ES256"
    assert keys.state is State.OK


@pytest.mark.parametrize(
    ("algorithm", "private"),
    [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
    ],
)
async def test_the_algorithm_is_the_keys_own(algorithm: str, private: Any) -> None:
    entry = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key()))
    found = await client(Publisher({**entry, "kid": "k"})).find("k")
    assert found is not None
    assert found.algorithm == algorithm


async def test_asks_for_the_keys_once_however_many_callers_wait() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher)
    found = await asyncio.gather(*(keys.find("a") for _ in range(100)))
    assert all(found)
    assert publisher.asked == 1


async def test_asks_again_for_a_key_that_is_unknown() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher)
    await keys.find("a")
    publisher.answer = {"keys": [Forger("a").jwk(), Forger("b").jwk()]}
    assert await keys.find("b") is not None


async def test_unknown_keys_do_not_make_it_ask_for_each() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher, refetch_seconds=60.0)
    assert [await keys.find(f"guess-{number}") for number in range(100)] == [None] * 100
    assert publisher.asked == 1


async def test_a_caller_who_gives_up_does_not_end_the_fetch_of_others() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher)
    impatient, patient = asyncio.create_task(keys.find("a")), asyncio.create_task(keys.find("a"))
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient is not None
    assert publisher.asked == 1


async def test_says_nothing_of_any_token_before_it_has_keys() -> None:
    publisher = Publisher()
    publisher.answer = OSError("nobody there")
    keys = client(publisher)
    with pytest.raises(Unavailable):
        await keys.find("a")
    assert keys.state is State.DOWN


async def test_no_call_waits_long_for_an_auth_service_that_hangs() -> None:
    async def hang() -> Mapping[str, Any]:
        return await asyncio.Future[Mapping[str, Any]]()

    keys = JwksClient(settings(), hang)
    async with asyncio.timeout(2.0):
        with pytest.raises(Unavailable):
            await keys.find("a")
    await keys.close()


async def test_keeps_the_keys_while_the_auth_service_is_away() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher)
    await keys.find("a")
    publisher.answer = OSError("nobody there")
    assert await keys.find("b") is None
    assert await keys.find("a") is not None
    assert keys.state is State.DEGRADED


async def test_an_empty_key_set_is_a_mistake_and_takes_no_key_away() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher)
    await keys.find("a")
    publisher.answer = {"keys": []}
    assert await keys.find("b") is None
    assert await keys.find("a") is not None


@pytest.mark.parametrize("changed", [True, False])
async def test_tells_when_a_key_is_withdrawn_or_changed_under_its_id(*, changed: bool) -> None:
    withdrawn: list[bool] = []
    publisher = Publisher(Forger("a").jwk(), Forger("b").jwk())
    keys = JwksClient(settings(jwks_refetch_seconds=0.0), publisher.fetch, on_withdrawal=lambda: withdrawn.append(True))
    await keys.find("a")
    assert not withdrawn
    publisher.answer = {"keys": [Forger("a").jwk(), *([Forger("b").jwk()] if changed else [])]}
    await keys.find("unknown")
    assert withdrawn == [True]


async def test_the_same_keys_again_are_no_withdrawal() -> None:
    withdrawn: list[bool] = []
    publisher = Publisher(Forger("a").jwk())
    keys = JwksClient(settings(jwks_refetch_seconds=0.0), publisher.fetch, on_withdrawal=lambda: withdrawn.append(True))
    await keys.find("a")
    await keys.find("unknown")
    assert publisher.asked == 2
    assert not withdrawn


SYMMETRIC = {"kty": "oct", "kid": "bad", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA"}
SHORT_RSA = json.loads(
    jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key())  # noqa: S505 - to be refused
)
PRIVATE = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1())))


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(SYMMETRIC, id="symmetric"),
        pytest.param({**SHORT_RSA, "kid": "bad"}, id="short RSA key"),
        pytest.param({**PRIVATE, "kid": "bad"}, id="private half"),
        pytest.param(Forger("bad").jwk(use="enc"), id="for encryption"),
        pytest.param(Forger("bad").jwk(alg="HS256"), id="another algorithm"),
        pytest.param(Forger("bad").jwk(crv="P-384"), id="another curve"),
        pytest.param(Forger("bad").jwk(x="AAAA"), id="no point of the curve"),
        pytest.param(Forger("").jwk(), id="no id"),
        pytest.param({}, id="nothing"),
    ],
)
async def test_skips_what_no_token_is_signed_with_and_keeps_the_rest(entry: Mapping[str, Any]) -> None:
    keys = client(Publisher(entry, Forger("good").jwk()))
    assert await keys.find("bad") is None
    assert await keys.find("") is None
    assert await keys.find("good") is not None


async def test_renews_the_keys_by_itself_until_it_is_closed() -> None:
    publisher = Publisher(Forger("a").jwk())
    keys = client(publisher, jwks_refresh_seconds=0.001)
    await keys.start()
    async with asyncio.timeout(10):
        await publisher.asked_again.wait()
    await keys.close()
    asked = publisher.asked
    await asyncio.sleep(0.02)
    assert publisher.asked == asked
