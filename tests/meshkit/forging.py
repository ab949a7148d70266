"""Tokens as an attacker would make them: each is right but for what a test changes."""

import json
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from meshkit.settings import ServiceSettings

ISSUER = "https://issuer.test"
AUDIENCE = "geomesh-test"


class Settings(ServiceSettings, service="forging"):
    """The settings of a verifier under test."""


def settings(**changes: Any) -> Settings:
    """Returns settings that accept the tokens of a `Forger`."""
    return Settings(token_issuer=ISSUER, token_audience=AUDIENCE, **changes)


class Forger:
    """Holds a key that is published, and signs with it whatever it is told to."""

    def __init__(
        self,
        key_id: str = "key-1",
        private: ec.EllipticCurvePrivateKey | None = None,
        *,
        issuer: str = ISSUER,
        audience: str = AUDIENCE,
    ) -> None:
        self.key_id = key_id
        self.private = private or ec.generate_private_key(ec.SECP256R1())
        self.issuer, self.audience = issuer, audience
        self.public_pem = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Returns the public key as it is published."""
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key()))
        return {**public, "kid": self.key_id, "alg": "ES256", "use": "sig", **changes}

    def claims(self, without: str = "", **changes: Any) -> dict[str, Any]:
        """Returns right claims with `changes`, and without one of them."""
        now = int(time.time())
        right = {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": "someone",
            "jti": uuid.uuid4().hex,
            "iat": now,
            "exp": now + 900,
            "tenant": "acme",
            "roles": ["user"],
            "plan": "user",
        }
        return {name: value for name, value in (right | changes).items() if name != without}

    def header(self, **changes: Any) -> dict[str, Any]:
        """Returns a right header with `changes`; None takes a member away."""
        right = {"alg": "ES256", "kid": self.key_id, "typ": "at+jwt"}
        return {name: value for name, value in (right | changes).items() if value is not None}

    def token(
        self, claims: Mapping[str, Any] | None = None, header: Mapping[str, Any] | None = None, **changes: Any
    ) -> str:
        """Returns a signed token with `changes` to its claims."""
        return self.signed(dump(header or self.header()), dump(claims or self.claims(**changes)))

    def signed(self, header: bytes, payload: bytes) -> str:
        """Returns what may be no JSON at all, with a good ES256 signature."""
        content = f"{base64url(header)}.{base64url(payload)}"
        algorithm = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256)
        return f"{content}.{base64url(algorithm.sign(content.encode(), self.private))}"


def dump(members: Mapping[str, Any]) -> bytes:
    """Returns JSON."""
    return json.dumps(members).encode()


def base64url(data: bytes) -> str:
    """Returns base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()
