"""The signed examples of RFC 7515 and RFC 7520, and what an attacker would make of them.

Each is right by itself, which PyJWT confirms with its key, so that it was written down rightly. None is an access token
of the mesh, also not where its key is one of the published; and none of their changed forms is anything at all.
"""

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from meshkit.errors import Reason, Unauthenticated
from meshkit.tokens import TokenVerifier
from tests.meshkit.forging import Forger, base64url, dump, settings

_PAYLOAD = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

OCT = {
    "kty": "oct",
    "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
}
RSA = {
    "kty": "RSA",
    "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2"
    "lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2"
    "R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW"
    "9gb54h4FRWyuXpoQ",
    "e": "AQAB",
}
EC = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}

HS256 = f"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{_PAYLOAD}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
"""RFC 7515, appendix A.1."""
RS256 = (
    f"eyJhbGciOiJSUzI1NiJ9.{_PAYLOAD}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_"
    "lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07"
    "Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98"
    "rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)
"""RFC 7515, appendix A.2."""
ES256 = (
    f"eyJhbGciOiJFUzI1NiJ9.{_PAYLOAD}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)
"""RFC 7515, appendix A.3."""
NONE = f"eyJhbGciOiJub25lIn0.{_PAYLOAD}."
"""RFC 7515, appendix A.5."""

_HOBBIT_PAYLOAD = (
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0aGUgcm9hZCwgYW5k"
    "IGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4"
)
HOBBIT_OCT = {"kty": "oct", "k": "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg"}
HOBBIT_HS256 = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9."
    f"{_HOBBIT_PAYLOAD}.s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0"
)
"""RFC 7520, section 4.4."""

VECTORS: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "7515 A.1": (HS256, OCT, "HS256"),
    "7515 A.2": (RS256, RSA, "RS256"),
    "7515 A.3": (ES256, EC, "ES256"),
    "7520 4.4": (HOBBIT_HS256, HOBBIT_OCT, "HS256"),
}


def changed(token: str) -> dict[str, str]:
    """Returns what is no signature by the token's key, by what was done to it."""
    header, payload, signature = token.split(".")
    raw = urlsafe_b64decode(signature + "==")
    flipped = bytes([raw[0] ^ 1]) + raw[1:]
    half = len(raw) // 2
    return {
        "no signature": f"{header}.{payload}.",
        "no signature segment": f"{header}.{payload}",
        "a flipped bit": f"{header}.{payload}.{base64url(flipped)}",
        "halves swapped": f"{header}.{payload}.{base64url(raw[half:] + raw[:half])}",
        "cut short": f"{header}.{payload}.{base64url(raw[:-1])}",
        "one byte more": f"{header}.{payload}.{base64url(raw + bytes(1))}",
        "zeros": f"{header}.{payload}.{base64url(bytes(len(raw)))}",
        "padded": f"{header}.{payload}.{signature}=",
        "another payload": f"{header}.{base64url(b'{}')}.{signature}",
        "another header": f"{base64url(dump({'alg': 'none'}))}.{payload}.{signature}",
        "segments swapped": f"{payload}.{header}.{signature}",
        "a fourth segment": f"{header}.{payload}.{signature}.{signature}",
        "JSON form": '{"payload":"' + payload + '","protected":"' + header + '","signature":"' + signature + '"}',
    }


CHANGED = [
    pytest.param(token, id=f"{name}: {how}")
    for name, (good, _, _) in VECTORS.items()
    for how, token in changed(good).items()
]


class Mesh:
    """A verifier that has published the public keys of the examples, each under every id that they use."""

    def __init__(self) -> None:
        self.verifier = TokenVerifier(settings(), self._published)

    async def _published(self) -> Mapping[str, Any]:
        keys = [each | {"kid": kid} for kid, each in (("rsa", RSA), ("ec", EC), ("oct", OCT))]
        return {"keys": [*keys, Forger().jwk()]}

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


async def test_an_unsecured_example_is_no_access_token() -> None:
    assert await Mesh().refuses(NONE)


@pytest.mark.parametrize("token", CHANGED)
async def test_a_changed_example_is_nothing(token: str) -> None:
    assert await Mesh().refuses(token)


@pytest.mark.parametrize("name", ["7515 A.2", "7515 A.3"])
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
