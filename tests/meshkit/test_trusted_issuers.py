"""A second issuer with keys of another kind, on a socket of its own, and how far it is trusted."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import ValidationError

from geomesh.options.v1 import options_pb2
from meshkit.context import current
from meshkit.errors import Reason, Unauthenticated
from meshkit.revocations import Kind, Revocation
from meshkit.tokens import TokenVerifier
from tests.meshkit.conftest import Start
from tests.meshkit.forging import ISSUER, Forger, settings

AUDIENCE = "maps"


class Provider:
    """An OpenID provider: it signs with RS256, as most do, and publishes its keys over HTTP."""

    def __init__(self) -> None:
        self.keys = {uuid.uuid4().hex: rsa.generate_private_key(public_exponent=65537, key_size=2048)}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps(provider.key_set()).encode()
                self.send_response(200 if self.path == "/jwks" else 404)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.issuer = f"{self.url}/realms/acme"
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def key_set(self) -> Mapping[str, Any]:
        algorithm = jwt.algorithms.RSAAlgorithm
        published = {kid: json.loads(algorithm.to_jwk(key.public_key())) for kid, key in self.keys.items()}
        return {"keys": [each | {"kid": kid, "use": "sig", "alg": "RS256"} for kid, each in published.items()]}

    def token(self, kind: str | None = "JWT", without: str = "", **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": [AUDIENCE, "account"],
            "sub": "f:1",
            "iat": now,
            "exp": now + 300,
            "org": "acme",
            "realm_access": {"roles": ["offline_access", "gis-admin"]},
            "azp": "portal",
        } | changes
        kid, key = next(reversed(self.keys.items()))
        return jwt.encode(
            {name: value for name, value in claims.items() if name != without},
            key,
            "RS256",
            headers={"kid": kid, "typ": kind},
        )


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


def entry(provider: Provider, **changes: Any) -> dict[str, Any]:
    return {
        "name": "corp",
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "jwks_url": f"{provider.url}/jwks",
        "types": ["jwt"],
        "tenant_claim": "org",
        "tenants": ["acme", "acme-labs"],
        "roles_claim": "realm_access.roles",
        "roles": {"gis-admin": "tenant_admin", "gis-reader": "premium"},
        "default_role": "public",
        "plan": "enterprise",
    } | changes


class Trusting:
    """A verifier that trusts the provider beside the mesh's own issuer."""

    def __init__(self, provider: Provider, **changes: Any) -> None:
        self.forger = Forger()
        chosen = settings(trusted_issuers=[entry(provider, **changes)], jwks_refetch_seconds=0)
        self.verifier = TokenVerifier(chosen, self._own)

    async def _own(self) -> Mapping[str, Any]:
        return {"keys": [self.forger.jwk()]}

    async def refusal(self, token: str) -> Unauthenticated:
        with pytest.raises(Unauthenticated) as refused:
            await self.verifier.verify(token)
        return refused.value


@pytest.fixture
def trusting(provider: Provider) -> Trusting:
    return Trusting(provider)


async def test_its_claims_mean_here_what_the_settings_say(provider: Provider, trusting: Trusting) -> None:
    identity = await trusting.verifier.verify(provider.token())
    assert (identity.subject, identity.tenant, identity.plan) == ("corp|f:1", "acme", "enterprise")
    assert identity.roles == ("tenant_admin",)
    assert identity.client_id == "corp|portal"
    assert options_pb2.PERMISSION_MANAGE_TENANT_USERS in identity.permissions


async def test_our_own_tokens_go_on(trusting: Trusting) -> None:
    assert (await trusting.verifier.verify(trusting.forger.token())).subject == "someone"


async def test_unknown_roles_give_the_least(provider: Provider, trusting: Trusting) -> None:
    token = provider.token(realm_access={"roles": ["system_admin", "tenant_admin"]})
    assert (await trusting.verifier.verify(token)).roles == ("public",)
    assert (await trusting.verifier.verify(provider.token(without="realm_access"))).roles == ("public",)


@pytest.mark.parametrize("tenant", ["other", "public", "", None, 1, ["acme"]])
async def test_it_speaks_for_its_tenants_alone(provider: Provider, trusting: Trusting, tenant: object) -> None:
    refusal = await trusting.refusal(provider.token(org=tenant))
    assert "names no tenant that this issuer speaks for" in refusal.message


async def test_its_own_claims_of_ours_count_for_nothing(provider: Provider, trusting: Trusting) -> None:
    token = provider.token(tenant="public", roles=["system_admin"], plan="public", sid="s", scope="admin:system")
    identity = await trusting.verifier.verify(token)
    assert (identity.tenant, identity.roles, identity.plan, identity.session_id) == (
        "acme",
        ("tenant_admin",),
        "enterprise",
        "",
    )


async def test_its_keys_prove_nothing_under_our_name(provider: Provider, trusting: Trusting) -> None:
    ours: dict[str, Any] = {
        "sub": "someone",
        "tenant": "public",
        "roles": ["system_admin"],
        "jti": "x",
        "aud": "geomesh-test",
    }
    for kind in ("at+jwt", "JWT"):
        assert (await trusting.refusal(provider.token(kind, iss=ISSUER, **ours))).reason is Reason.TOKEN_INVALID


async def test_our_keys_prove_nothing_under_its_name(provider: Provider, trusting: Trusting) -> None:
    claims = trusting.forger.claims(iss=provider.issuer, aud=AUDIENCE, org="acme")
    header = trusting.forger.header(typ="JWT")
    assert (await trusting.refusal(trusting.forger.token(claims, header))).reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "changes",
    [{"aud": "another"}, {"iss": "https://another.test"}, {"sub": ""}, {"sub": 7}, {"sub": "x" * 256}],
    ids=str,
)
async def test_refuses_what_is_not_meant_for_us(
    provider: Provider, trusting: Trusting, changes: dict[str, Any]
) -> None:
    assert (await trusting.refusal(provider.token(**changes))).reason is Reason.TOKEN_INVALID


async def test_refuses_an_expired_token_and_one_that_lives_too_long(provider: Provider, trusting: Trusting) -> None:
    now = int(time.time())
    assert (await trusting.refusal(provider.token(exp=now - 60))).reason is Reason.TOKEN_EXPIRED
    assert "longer than a day" in (await trusting.refusal(provider.token(exp=now + 90_000))).message


@pytest.mark.parametrize("kind", ["at+jwt", "logout+jwt", None])
async def test_only_the_types_of_the_settings_are_access_tokens(
    provider: Provider, trusting: Trusting, kind: str | None
) -> None:
    await trusting.refusal(provider.token(kind))


async def test_a_new_key_of_the_provider_is_found_and_an_old_one_dropped(
    provider: Provider, trusting: Trusting
) -> None:
    before = provider.token()
    await trusting.verifier.verify(before)
    old = dict(provider.keys)
    provider.keys[uuid.uuid4().hex] = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for kid in old:
        del provider.keys[kid]
    await trusting.verifier.verify(provider.token())
    await trusting.refusal(before)


async def test_its_subjects_can_be_revoked(provider: Provider, trusting: Trusting) -> None:
    trusting.verifier.revoked.adopt([Revocation(Kind.SUBJECT, "corp|f:1", float("inf"), float("inf"))])
    assert (await trusting.refusal(provider.token())).reason is Reason.TOKEN_REVOKED
    await trusting.verifier.verify(provider.token(sub="f:2"))


async def test_a_scope_claim_narrows_where_the_settings_name_it(provider: Provider) -> None:
    trusting = Trusting(provider, scope_claim="scope")
    identity = await trusting.verifier.verify(provider.token(scope="openid read:own_data"))
    assert identity.permissions == {
        options_pb2.PERMISSION_READ_PUBLIC_DATA,
        options_pb2.PERMISSION_READ_OWN_DATA,
    }


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"jwks_url": "http://idp.example/jwks"}, "jwks_url"),
        ({"jwks_url": "http://127.0.0.1.attacker.example/jwks"}, "jwks_url"),
        ({"jwks_url": "file:///etc/passwd"}, "jwks_url"),
        ({"jwks_url": "https:///certs"}, "jwks_url"),
        ({"tenants": []}, "tenants"),
        ({"tenants": ["public"]}, "tenants"),
        ({"tenant_claim": ""}, "tenants"),
        ({"default_role": "root"}, "roles"),
        ({"roles": {"x": "root"}}, "roles"),
        ({"plan": "gold"}, "plan"),
        ({"audience": ""}, "audience"),
        ({"name": "Corp|"}, "name"),
        ({"name": "geomesh"}, "name"),
        ({"trust": "all"}, "trust"),
    ],
    ids=str,
)
def test_a_trust_without_bounds_is_refused_at_the_start(
    provider: Provider, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError, match=field):
        settings(trusted_issuers=[entry(provider, **changes)])


@pytest.mark.parametrize(
    ("changes", "field"), [({"issuer": "https://another.example"}, "name: corp"), ({"name": "twin"}, "issuer: ")]
)
def test_two_that_could_not_be_told_apart_are_refused_at_the_start(
    provider: Provider, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ValidationError, match=f"{field}.* is there twice"):
        settings(trusted_issuers=[entry(provider), entry(provider, **changes)])


def test_an_issuer_that_is_ours_is_refused_at_the_start(provider: Provider) -> None:
    with pytest.raises(ValidationError, match="is that of our own tokens"):
        settings(trusted_issuers=[entry(provider, issuer=ISSUER)])


async def test_an_account_of_theirs_is_none_of_ours_with_the_same_name(provider: Provider, trusting: Trusting) -> None:
    ours = await trusting.verifier.verify(trusting.forger.token(sub="f:1", tenant="acme"))
    theirs = await trusting.verifier.verify(provider.token(sub="f:1"))
    assert (ours.subject, theirs.subject) == ("f:1", "corp|f:1")
    trusting.verifier.revoked.adopt([Revocation(Kind.SUBJECT, "f:1", float("inf"), float("inf"))])
    assert (await trusting.refusal(trusting.forger.token(sub="f:1"))).reason is Reason.TOKEN_REVOKED
    await trusting.verifier.verify(provider.token(sub="f:1"))


def test_the_settings_come_from_the_environment(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOMESH_FORGING_TRUSTED_ISSUERS", json.dumps([entry(provider)]))
    assert settings().trusted_issuers[0].issuer == provider.issuer


async def test_a_real_server_knows_its_callers_and_what_they_may(
    provider: Provider, start: Start, probe: Any, messages: Any
) -> None:
    class Probe(probe.ProbeServiceServicer):  # type: ignore[misc]
        async def Open(self, request: Any, context: object) -> Any:
            return messages.ProbeResponse()

        async def Write(self, request: Any, context: object) -> Any:
            caller = current().identity
            return messages.ProbeResponse(text=f"{caller.tenant} {caller.subject}")

        async def Watch(self, request: Any, context: object) -> Any:
            yield messages.ProbeResponse()

        async def Upload(self, requests: Any, context: object) -> Any:
            return messages.ProbeResponse()

    async with (
        start(Probe(), trusted_issuers=[entry(provider)]) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        stub = probe.ProbeServiceStub(channel)

        async def write(token: str) -> str:
            reply = await stub.Write(messages.ProbeRequest(), metadata=(("authorization", f"Bearer {token}"),))
            return str(reply.text)

        assert await write(provider.token()) == "acme corp|f:1"
        codes = {}
        for name, token in {
            "a role that gives nothing": provider.token(realm_access={"roles": ["system_admin"]}),
            "a tenant of others": provider.token(org="other"),
            "an audience of others": provider.token(aud="other"),
            "our name": provider.token(iss="https://geomesh.local", aud="geomesh"),
        }.items():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await write(token)
            codes[name] = refused.value.code().name
        assert codes == {
            "a role that gives nothing": "PERMISSION_DENIED",
            "a tenant of others": "UNAUTHENTICATED",
            "an audience of others": "UNAUTHENTICATED",
            "our name": "UNAUTHENTICATED",
        }
