"""The signed examples of RFC 7515 and RFC 7520, and what an attacker would make of them.

Each is right by itself, which PyJWT confirms with its key, so that it was written down rightly. None is an access token
of the mesh, also not where its key is one of the published; and none of their changed forms is anything at all.
"""

from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from meshkit.errors import Reason, Unauthenticated
from meshkit.tokens import TokenVerifier
from tests.meshkit.forging import Forger, base64url, dump, settings
from tests.meshkit.jws_vectors import (
    CHANGED,
    EC,
    ES256,
    HOBBIT_OCT,
    HOBBIT_RSA,
    OCT,
    OTHER_FORMS,
    RSA,
    VECTORS,
    changed,
)

KEYS: Mapping[str, Mapping[str, str]] = {
    "rsa": RSA,
    "ec": EC,
    "oct": OCT,
    "bilbo.baggins@hobbiton.example": HOBBIT_RSA,
    "018c0ae5-4d9b-471b-bfd6-eef314bc7037": HOBBIT_OCT,
}


class Mesh:
    """A verifier that has published the public keys of the examples, each under every id that they use."""

    def __init__(self) -> None:
        self.verifier = TokenVerifier(settings(), self._published)

    async def _published(self) -> Mapping[str, Any]:
        return {"keys": [*({**each, "kid": kid} for kid, each in KEYS.items()), Forger().jwk()]}

    async def refuses(self, token: str) -> bool:
        with pytest.raises(Unauthenticated) as refused:
            await self.verifier.verify(token)
        return refused.value.reason is Reason.TOKEN_INVALID


@pytest.mark.parametrize("name", VECTORS)
def test_an_example_was_written_down_rightly(name: str) -> None:
    token, key, algorithm = VECTORS[name]
    jwt.PyJWS().decode(token, jwt.PyJWK(dict(key), algorithm), [algorithm])


@pytest.mark.parametrize("name", VECTORS)
async def test_a_good_example_is_no_access_token(name: str) -> None:
    assert await Mesh().refuses(VECTORS[name][0])


@pytest.mark.parametrize("name", OTHER_FORMS)
async def test_another_form_is_no_access_token(name: str) -> None:
    assert await Mesh().refuses(OTHER_FORMS[name])


@pytest.mark.parametrize("name", CHANGED)
async def test_a_changed_example_is_nothing(name: str) -> None:
    assert await Mesh().refuses(CHANGED[name])


@pytest.mark.parametrize("name", sorted(set(VECTORS) - {"7515 A.1", "7520 4.4"}))
@pytest.mark.parametrize("how", sorted(set(changed(ES256)) - {"padded"}))  # which the library takes
def test_a_changed_example_is_nothing_to_the_library_either(name: str, how: str) -> None:
    token, key, algorithm = VECTORS[name]
    with pytest.raises(jwt.PyJWTError):
        jwt.PyJWS().decode(changed(token)[how], jwt.PyJWK(dict(key), algorithm), [algorithm])


@pytest.mark.parametrize(("kid", "algorithm"), [("rsa", "RS256"), ("ec", "ES256"), ("oct", "HS256")])
async def test_the_signature_of_an_example_signs_nothing_else(kid: str, algorithm: str) -> None:
    forger = Forger()
    header = base64url(dump(forger.header(kid=kid, alg=algorithm)))
    payload = base64url(dump(forger.claims(roles=["system_admin"])))
    for token, _, _ in VECTORS.values():
        assert await Mesh().refuses(f"{header}.{payload}.{token.split('.')[2]}")
