"""Tokens: what verifying one costs, beside what PyJWT alone needs for it."""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jwt

from auth.access_tokens import AccessTokens
from auth.accounts import Account
from auth.signing_keys import generate
from bench.report import Row, ceiling, median
from meshkit.revocations import Kind, Revocation
from meshkit.settings import ServiceSettings
from meshkit.tokens import TokenVerifier

_ISSUER: Final = "https://geomesh.local"
_AUDIENCE: Final = "geomesh"
_TOKENS: Final = 2_000
_REVOKED: Final = 10_000


class Settings(ServiceSettings, service="bench"):
    """The settings of a verifier."""


def verification() -> Iterator[Row]:
    """One token after another, and one token again and again, while ten thousand others are revoked.

    Nothing is waited for, so that the processor's time is taken, which what else the machine does changes least.
    """
    key = generate()
    issuer = AccessTokens(_ISSUER, _AUDIENCE, 900)
    someone = Account("4b1c5f3e-27f4-4f0e-9d0b-0f6f0f8a2c11", "acme", ("user",), "user")
    tokens = [issuer.issue(someone, key, session_id=someone.id) for _ in range(_TOKENS)]
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.private.public_key()))

    async def published() -> Mapping[str, Any]:
        return {"keys": [{**public, "kid": key.public.key_id, "alg": "ES256", "use": "sig"}]}

    def verifier() -> TokenVerifier:
        made = TokenVerifier(Settings(), published)
        forever = float("inf")
        made.revoked.adopt([Revocation(Kind.SESSION, f"other-{n}", forever, forever) for n in range(_REVOKED)])
        return made

    async def first() -> float:
        fresh = verifier()
        await fresh.verify(tokens[0])
        started = time.process_time()
        for token in tokens[1:]:
            await fresh.verify(token)
        return (time.process_time() - started) / (len(tokens) - 1)

    async def again() -> float:
        known = verifier()
        for token in tokens:
            await known.verify(token)
        rounds, cached = 200_000, known.cached
        started = time.process_time()
        for number in range(rounds):
            cached(tokens[number % 100])
        return (time.process_time() - started) / rounds

    def alone() -> float:
        verify = jwt.PyJWK({**public, "alg": "ES256"}, "ES256")
        started = time.process_time()
        for token in tokens:
            jwt.decode(token, verify, ["ES256"], audience=_AUDIENCE, issuer=_ISSUER)
        return (time.process_time() - started) / len(tokens)

    # In turn, and the best of each: the same work never takes less time than it takes.
    pairs = [(asyncio.run(first()) * 1e6, alone() * 1e6) for _ in range(5)]
    ours, library = (min(each) for each in zip(*pairs, strict=True))
    yield ceiling(f"access token (ES256) verified for the first time; PyJWT alone {library:.0f} µs", ours, "µs", 100)
    yield ceiling("access token verified again", median(lambda: asyncio.run(again()) * 1e6), "µs", 3)
