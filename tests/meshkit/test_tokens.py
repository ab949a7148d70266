"""What an access token must be, and every way in which it may not be."""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import example, given
from hypothesis import strategies as st

from geomesh.options.v1 import options_pb2
from meshkit.errors import Reason, Unauthenticated, Unavailable
from meshkit.jws import MAX_TOKEN_BYTES
from meshkit.tokens import TokenVerifier
from tests.meshkit.forging import AUDIENCE, ISSUER, Forger, base64url, dump, settings

FORGER = Forger()


class Mesh:
    """A verifier, the keys it may see, and its clock."""

    def __init__(self, **changes: Any) -> None:
        self.entries = [FORGER.jwk()]
        self.asked = 0
        self.late = 0.0
        self.verifier = TokenVerifier(settings(**changes), self._fetch, clock=lambda: time.time() + self.late)

    async def _fetch(self) -> Mapping[str, Any]:
        self.asked += 1
        return {"keys": self.entries}

    async def refusal(self, token: str) -> Unauthenticated:
        """Returns the error that the token meets."""
        with pytest.raises(Unauthenticated) as refused:
            await self.verifier.verify(token)
        return refused.value


@pytest.fixture
def mesh() -> Mesh:
    return Mesh()


async def test_a_good_token_proves_who_calls(mesh: Mesh) -> None:
    claims = FORGER.claims(roles=["user", "from_the_future"], plan="premium")
    identity = await mesh.verifier.verify(FORGER.token(claims))
    assert (identity.subject, identity.tenant, identity.plan) == ("someone", "acme", "premium")
    assert identity.roles == ("user", "from_the_future")
    assert options_pb2.PERMISSION_WRITE_OWN_DATA in identity.permissions
    assert (identity.token_id, identity.expires_at) == (claims["jti"], claims["exp"])


@pytest.mark.parametrize("kind", ["at+jwt", "application/at+jwt", "AT+JWT"])
async def test_accepts_the_types_of_rfc_9068(mesh: Mesh, kind: str) -> None:
    await mesh.verifier.verify(FORGER.token(header=FORGER.header(typ=kind)))


async def test_accepts_several_audiences_when_we_are_one(mesh: Mesh) -> None:
    await mesh.verifier.verify(FORGER.token(aud=["another", AUDIENCE]))


async def test_a_token_without_a_plan_lives_under_the_tightest(mesh: Mesh) -> None:
    assert (await mesh.verifier.verify(FORGER.token(without="plan"))).plan == "public"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS256", "HS512", "ES512", "RS1", "PS256"])
async def test_refuses_an_algorithm_that_no_key_of_ours_has(mesh: Mesh, algorithm: str) -> None:
    assert (await mesh.refusal(FORGER.token(header=FORGER.header(alg=algorithm)))).reason is Reason.TOKEN_INVALID
    assert not mesh.asked


@given(
    part=st.sampled_from(["header", "claims"]),
    name=st.sampled_from(
        [
            "alg",
            "kid",
            "typ",
            "crit",
            "iss",
            "aud",
            "sub",
            "jti",
            "iat",
            "nbf",
            "exp",
            "tenant",
            "roles",
            "plan",
            "scope",
            "sid",
        ]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)
@example(part="header", name="alg", value=[])
@example(part="claims", name="iss", value={})
async def test_whatever_json_stands_for_a_member_a_token_is_good_or_refused(part: str, name: str, value: Any) -> None:
    header, claims = FORGER.header(), FORGER.claims()
    {"header": header, "claims": claims}[part][name] = value
    with contextlib.suppress(Unauthenticated):
        await Mesh().verifier.verify(FORGER.signed(dump(header), dump(claims)))


async def test_refuses_a_token_without_a_signature(mesh: Mesh) -> None:
    content = ".".join(map(base64url, (dump(FORGER.header(alg="none")), dump(FORGER.claims()))))
    await mesh.refusal(f"{content}.")
    content = ".".join(map(base64url, (dump(FORGER.header()), dump(FORGER.claims()))))
    await mesh.refusal(f"{content}.")
    await mesh.refusal(f"{content}.{base64url(bytes(64))}")


async def test_refuses_an_hmac_with_the_public_key_as_secret(mesh: Mesh) -> None:
    content = ".".join(map(base64url, (dump(FORGER.header(alg="HS256")), dump(FORGER.claims()))))
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    for secret in (FORGER.public_pem, dump(FORGER.jwk())):
        await mesh.refusal(f"{content}.{base64url(hmac.sign(content.encode(), secret))}")


async def test_the_algorithm_of_the_token_does_not_choose_that_of_the_key(mesh: Mesh) -> None:
    await mesh.refusal(FORGER.token(header=FORGER.header(alg="RS256")))
    await mesh.refusal(FORGER.token(header=FORGER.header(alg="EdDSA")))


async def test_refuses_the_signature_of_another_key_under_a_known_id(mesh: Mesh) -> None:
    await mesh.refusal(Forger(FORGER.key_id).token())


async def test_refuses_the_key_that_the_token_brings_along(mesh: Mesh) -> None:
    other = Forger(FORGER.key_id)
    for header in (
        other.header(jwk=other.jwk()),
        other.header(jku="https://attacker.test/jwks.json"),
        other.header(x5u="https://attacker.test/cert.pem"),
    ):
        await mesh.refusal(other.token(header=header))


async def test_refuses_an_unknown_key_id(mesh: Mesh) -> None:
    refusal = await mesh.refusal(FORGER.token(header=FORGER.header(kid="another")))
    assert refusal.message == "the access token is not valid: no key of this mesh signed it"


@pytest.mark.parametrize(
    "key_id", ["../../dev/null", "key-1'; DROP TABLE keys; --", "key-1\x00", "/etc/passwd", "KEY-1", " key-1", ""]
)
async def test_a_key_id_is_a_name_and_nothing_else(mesh: Mesh, key_id: str) -> None:
    await mesh.refusal(FORGER.token(header=FORGER.header(kid=key_id)))


@pytest.mark.parametrize("key_id", [None, 1, ["key-1"], {"key-1": 1}, True])
async def test_refuses_a_key_id_that_is_no_text(mesh: Mesh, key_id: object) -> None:
    await mesh.refusal(FORGER.token(header=FORGER.header(kid=key_id)))
    assert not mesh.asked


@pytest.mark.parametrize("kind", [None, "JWT", "jwt", "rt+jwt", "logout+jwt", 1, ["at+jwt"]])
async def test_refuses_another_type_of_token(mesh: Mesh, kind: object) -> None:
    refusal = await mesh.refusal(FORGER.token(header=FORGER.header(typ=kind)))
    assert refusal.message == "the access token is not valid: its type is not at+jwt"


async def test_refuses_an_extension_that_must_be_understood(mesh: Mesh) -> None:
    await mesh.refusal(FORGER.token(header=FORGER.header(crit=["b64"], b64=False)))


async def test_refuses_an_expired_token_with_a_reason_of_its_own(mesh: Mesh) -> None:
    refusal = await mesh.refusal(FORGER.token(exp=int(time.time()) - 60))
    assert refusal.reason is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_refuses_a_token_from_the_future(mesh: Mesh, claim: str) -> None:
    assert (
        await mesh.refusal(FORGER.token(FORGER.claims() | {claim: int(time.time()) + 60}))
    ).reason is Reason.TOKEN_INVALID


async def test_forgives_clocks_that_differ_by_less_than_the_leeway() -> None:
    mesh = Mesh(token_leeway_seconds=30.0)
    now = int(time.time())
    await mesh.verifier.verify(FORGER.token(iat=now + 15, nbf=now + 15))
    await mesh.verifier.verify(FORGER.token(exp=now - 15))
    await mesh.refusal(FORGER.token(exp=now - 45))


@pytest.mark.parametrize(
    "issuer", ["https://another.test", f"{ISSUER}/", ISSUER.upper(), "", None, 1, [ISSUER], {"iss": ISSUER}]
)
async def test_refuses_another_issuer(mesh: Mesh, issuer: object) -> None:
    assert (await mesh.refusal(FORGER.token(iss=issuer))).reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("audience", ["another", [], ["another"], "", None, 1, AUDIENCE.upper(), {AUDIENCE: 1}])
async def test_refuses_another_audience(mesh: Mesh, audience: object) -> None:
    assert (await mesh.refusal(FORGER.token(aud=audience))).reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("claim", ["iss", "aud", "sub", "jti", "iat", "exp", "tenant", "roles"])
async def test_refuses_a_token_without_a_claim(mesh: Mesh, claim: str) -> None:
    refusal = await mesh.refusal(FORGER.token(without=claim))
    assert refusal.message == f"the access token is not valid: it lacks the claim {claim}"


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": 1},
        {"sub": ""},
        {"jti": 1},
        {"jti": ""},
        {"tenant": 1},
        {"tenant": ""},
        {"tenant": ["acme", "public"]},
        {"roles": "system_admin"},
        {"roles": {"system_admin": True}},
        {"roles": [1]},
        {"roles": [["system_admin"]]},
        {"plan": 1},
        {"plan": ["enterprise"]},
        {"exp": "soon"},
        {"exp": [1]},
        {"iat": "yesterday"},
        {"nbf": "tomorrow"},
        {"nbf": None},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"iat": float("-inf")},
    ],
    ids=str,
)
async def test_refuses_a_claim_of_the_wrong_type(mesh: Mesh, changes: dict[str, Any]) -> None:
    assert (await mesh.refusal(FORGER.token(**changes))).reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize(
    "header", [b"", b"{", b"[]", b'"at+jwt"', b"null", b"\xff\xfe", b"[" * 3000], ids=lambda header: repr(header[:9])
)
async def test_refuses_a_header_that_is_no_object(mesh: Mesh, header: bytes) -> None:
    await mesh.refusal(FORGER.signed(header, dump(FORGER.claims())))
    assert not mesh.asked


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 3000], ids=lambda p: repr(p[:9]))
async def test_refuses_a_payload_that_is_no_object(mesh: Mesh, payload: bytes) -> None:
    await mesh.refusal(FORGER.signed(dump(FORGER.header()), payload))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "...", "a", "a.b", "a.b.c", "ä.ö.ü", "Bearer a.b.c", "\x00.\x00.\x00"]
)
async def test_refuses_what_is_no_token(mesh: Mesh, token: str) -> None:
    assert (await mesh.refusal(token)).reason is Reason.TOKEN_INVALID
    assert not mesh.asked


@pytest.mark.parametrize("tail", ["A", "=", "==", ".", ".A", " ", "\n", "\x00", "AAAA", "%3D"])
async def test_refuses_a_good_token_with_something_behind_it(mesh: Mesh, tail: str) -> None:
    token = FORGER.token()
    await mesh.verifier.verify(token)
    await mesh.refusal(token + tail)


async def test_refuses_another_spelling_of_the_same_signature(mesh: Mesh) -> None:
    token = FORGER.token()
    # 64 bytes end in a character of which 4 bits are spare: 15 others decode to the same bytes.
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(token[-1])
    for spare in range(1, 16):
        await mesh.refusal(token[:-1] + alphabet[last ^ spare])
    await mesh.verifier.verify(token)


async def test_refuses_characters_that_a_lenient_decoder_skips(mesh: Mesh) -> None:
    header, payload, signature = FORGER.token().split(".")
    for token in (f"{header}.{payload}.{signature[:9]}\n{signature[9:]}", f"{header}.{payload}!!!!.{signature}"):
        await mesh.refusal(token)


async def test_refuses_a_signature_in_the_form_of_certificates(mesh: Mesh) -> None:
    content = ".".join(map(base64url, (dump(FORGER.header()), dump(FORGER.claims()))))
    await mesh.refusal(f"{content}.{base64url(FORGER.private.sign(content.encode(), ec.ECDSA(SHA256())))}")


async def test_refuses_a_huge_token_unread(mesh: Mesh) -> None:
    token = FORGER.token(padding="x" * MAX_TOKEN_BYTES)
    assert "longer than" in (await mesh.refusal(token)).message
    assert "longer than" in (await mesh.refusal("a" * 10_000_000)).message
    assert not mesh.asked


async def test_a_message_never_repeats_what_the_caller_sent(mesh: Mesh) -> None:
    for token in (FORGER.token(iss="<script>"), FORGER.token(header=FORGER.header(kid="<script>")), "<script>"):
        assert "<script>" not in (await mesh.refusal(token)).message


async def test_what_the_signer_did_not_sign_changes_nothing(mesh: Mesh) -> None:
    header, payload, signature = FORGER.token().split(".")
    claims = json.loads(jwt.utils.base64url_decode(payload.encode()))
    raised = base64url(dump(claims | {"roles": ["system_admin"]}))
    await mesh.refusal(f"{header}.{raised}.{signature}")


async def test_a_verified_token_is_remembered_but_not_beyond_its_end(mesh: Mesh) -> None:
    token = FORGER.token(exp=int(time.time()) + 30)
    identity = await mesh.verifier.verify(token)
    assert mesh.verifier.cached(token) is identity
    mesh.late = 34.0
    assert mesh.verifier.cached(token) is identity  # the leeway
    mesh.late = 36.0
    assert mesh.verifier.cached(token) is None


async def test_a_remembered_token_is_verified_again_after_a_while() -> None:
    mesh = Mesh(token_cache_seconds=60.0)
    token = FORGER.token()
    await mesh.verifier.verify(token)
    mesh.late = 61.0
    assert mesh.verifier.cached(token) is None


async def test_a_refused_token_is_not_remembered(mesh: Mesh) -> None:
    token = FORGER.token(iss="another")
    await mesh.refusal(token)
    assert mesh.verifier.cached(token) is None


async def test_remembers_the_tokens_used_last() -> None:
    mesh = Mesh(token_cache_size=2)
    first, second, third = (FORGER.token() for _ in range(3))
    await mesh.verifier.verify(first)
    await mesh.verifier.verify(second)
    mesh.verifier.cached(first)
    await mesh.verifier.verify(third)
    assert mesh.verifier.cached(second) is None
    assert mesh.verifier.cached(first)
    assert mesh.verifier.cached(third)


async def test_a_withdrawn_key_takes_the_remembered_tokens_with_it() -> None:
    mesh = Mesh(jwks_refetch_seconds=0.0)
    token = FORGER.token()
    await mesh.verifier.verify(token)
    mesh.entries = [Forger("key-2").jwk()]
    await mesh.refusal(FORGER.token(header=FORGER.header(kid="key-3")))
    assert mesh.verifier.cached(token) is None
    await mesh.refusal(token)


async def test_does_not_call_a_token_wrong_while_it_has_no_keys(mesh: Mesh) -> None:
    mesh.entries = []
    with pytest.raises(Unavailable):
        await mesh.verifier.verify(FORGER.token())
