"""Signing in and tokens: what they cost, also with many accounts and sessions."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
import jwt
from argon2 import PasswordHasher, extract_parameters
from cryptography.hazmat.primitives.asymmetric import ec

from auth.access_tokens import AccessTokens
from auth.accounts import ADMINISTRATOR_EMAIL, Account
from auth.refresh_tokens import digest
from auth.signing_keys import generate
from bench.load import ghz
from bench.mesh import Mesh
from bench.report import Row, ceiling, floor, in_turn, median, ratio
from geomesh.auth.v1 import auth_pb2, auth_pb2_grpc
from geomesh_local.ports import program_name
from meshkit.revocations import Kind, Revocation
from meshkit.settings import ServiceSettings
from meshkit.tokens import TokenVerifier

REFRESH: Final = "geomesh.auth.v1.AuthService.RefreshToken"
SECONDS: Final = 3.0
LOGINS: Final = 20
TOKENS: Final = 6_000
USERS: Final = 1_000_000
SESSIONS: Final = 100_000
_FEW: Final = 10
_REVOKED: Final = 10_000

_ADD_ACCOUNTS: Final = """
INSERT INTO auth.accounts (email, password_hash, tenant_id, roles, plan)
SELECT 'bench-' || n || '@bench.example', 'none', 'bench', '{user}', 'user' FROM generate_series($1::int, $2::int) AS n
"""
_ADD_SESSIONS: Final = """
INSERT INTO auth.sessions (session_id, account_id, tenant_id, token_digest, expires_at)
SELECT gen_random_uuid(), a.account_id, 'bench', t.digest, now() + interval '30 days'
FROM unnest($1::bytea[]) WITH ORDINALITY AS t (digest, n)
JOIN auth.accounts AS a ON a.email = 'bench-' || (t.n % $2::int) || '@bench.example'
"""
_FIND_HASH: Final = "SELECT password_hash FROM auth.accounts WHERE email = $1"
_CLEAR: Final = "DELETE FROM auth.accounts WHERE email LIKE 'bench-%@bench.example'"


class Settings(ServiceSettings, service="bench"):
    """The settings of a verifier."""


def verification() -> Iterator[Row]:
    """One token after another, and one token again and again, while ten thousand others are revoked.

    Nothing is waited for, so that the processor's time is taken, which what else the machine does changes least.
    """
    key = generate()
    issuer = AccessTokens("https://geomesh.local", "geomesh", 900)
    tokens = [issuer.issue(Account("someone", "acme", ("user",), "user"), key, session_id="s") for _ in range(2_000)]
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.private.public_key()))
    assert isinstance(key.private, ec.EllipticCurvePrivateKey)

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
            jwt.decode(token, verify, ["ES256"], audience="geomesh", issuer="https://geomesh.local")
        return (time.process_time() - started) / len(tokens)

    library = median(lambda: alone() * 1e6)
    yield ceiling(
        f"access token verified for the first time; PyJWT alone {library:.0f} µs",
        median(lambda: asyncio.run(first()) * 1e6),
        "µs",
        100,
    )
    yield ceiling("access token verified again", median(lambda: asyncio.run(again()) * 1e6), "µs", 3)


def refreshing(mesh: Mesh) -> Iterator[Row]:
    """Signing in, and refresh tokens, each used once, by one process; then the same beside a million accounts."""
    yield _share(mesh, "Argon2id / Login, processor time")
    few = _measured(mesh, _FEW)
    yield floor("RefreshToken, one process", few, "calls/s", 500)
    _arrange(mesh, lambda owner: owner.execute(_ADD_ACCOUNTS, _FEW + 1, USERS))
    _arrange(mesh, lambda owner: _add_sessions(owner, SESSIONS, USERS))
    try:
        _arrange(mesh, lambda owner: owner.execute("ANALYZE auth.accounts, auth.sessions"))
        many = _measured(mesh, USERS)
        yield ratio(f"RefreshToken with {USERS:,} accounts and {SESSIONS:,} sessions / few", many, few, "calls/s", 0.9)
        yield _share(mesh, "Argon2id / Login beside as many, processor time")
    finally:
        _arrange(mesh, lambda owner: owner.execute(_CLEAR))


def _share(mesh: Mesh, name: str) -> Row:
    """What of the processor's time of a sign-in goes into the password's hash; time itself depends on who else is busy."""
    request = auth_pb2.LoginRequest(email=ADMINISTRATOR_EMAIL, password=mesh.administrator_password)
    stored = _arrange(mesh, lambda owner: owner.fetchval(_FIND_HASH, ADMINISTRATOR_EMAIL))
    hasher = PasswordHasher.from_parameters(extract_parameters(stored))
    process = mesh.stack.supervisor.states()[program_name("auth", 0)].pid

    def hashing() -> float:
        started = time.process_time()
        for _ in range(LOGINS):
            hasher.verify(stored, request.password)
        return (time.process_time() - started) / LOGINS * 1000

    def signing_in() -> float:
        with grpc.insecure_channel(mesh.address("auth")) as channel:
            stub = auth_pb2_grpc.AuthServiceStub(channel)
            started = _processor_seconds(process)
            for _ in range(LOGINS):
                stub.Login(request)
            return (_processor_seconds(process) - started) / LOGINS * 1000

    return ratio(name, *in_turn(hashing, signing_in), "ms", 0.9)


def _processor_seconds(process: int) -> float:
    """Returns what a process has used of all processors."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measured(mesh: Mesh, accounts: int) -> float:
    def once() -> float:
        tokens = _arrange(mesh, lambda owner: _add_sessions(owner, TOKENS, accounts))
        requests = [{"refresh_token": token} for token in tokens]
        return ghz(mesh.address("auth"), REFRESH, requests, protoset=mesh.protoset, seconds=SECONDS).per_second

    if accounts < USERS:
        _arrange(mesh, lambda owner: owner.execute(_CLEAR))
        _arrange(mesh, lambda owner: owner.execute(_ADD_ACCOUNTS, 0, accounts))
    return median(once)


async def _add_sessions(owner: asyncpg.Connection, number: int, accounts: int) -> list[str]:
    tokens = [secrets.token_urlsafe(32) for _ in range(number)]
    await owner.execute(_ADD_SESSIONS, [digest(token) for token in tokens], accounts)
    return tokens


def _arrange(mesh: Mesh, work: Callable[[Any], Awaitable[Any]]) -> Any:
    async def connected() -> Any:
        owner = await asyncpg.connect(mesh.stack.owner_dsn())
        try:
            return await work(owner)
        finally:
            await owner.close()

    return asyncio.run(connected())
