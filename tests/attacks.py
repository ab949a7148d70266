"""Every token that a real server must refuse, made by someone who even holds its key, with the reason for the refusal."""

import time
from collections.abc import Mapping
from typing import Any

import jwt

from meshkit.errors import Reason
from meshkit.jws import MAX_TOKEN_BYTES
from tests.meshkit.forging import Forger, base64url, dump
from tests.meshkit.jws_vectors import CHANGED, OTHER_FORMS, VECTORS

Attacks = Mapping[str, tuple[str, Reason]]


def attacks(forger: Forger, refresh_token: str) -> Attacks:
    """Returns tokens by what is wrong with them.

    Args:
        forger: Holds the very key that the server trusts, and knows issuer and audience.
        refresh_token: A good refresh token.
    """
    good = forger.token()
    header, payload, signature = good.split(".")
    stranger = Forger(forger.key_id, issuer=forger.issuer, audience=forger.audience)
    hmac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    as_hmac = ".".join(map(base64url, (dump(forger.header(alg="HS256")), dump(forger.claims()))))
    unsigned = ".".join(map(base64url, (dump(forger.header(alg="none")), dump(forger.claims()))))
    now = int(time.time())

    def claims(**changes: Any) -> str:
        return forger.token(forger.claims() | changes)

    def headed(**changes: Any) -> str:
        return forger.token(header=forger.header(**changes))

    found = {
        "alg none": f"{unsigned}.",
        "alg None, with the signature of another token": f"{unsigned}.{signature}",
        "no signature": f"{header}.{payload}.",
        "zeros for a signature": f"{header}.{payload}.{base64url(bytes(64))}",
        "HMAC with the public key as PEM": f"{as_hmac}.{base64url(hmac.sign(as_hmac.encode(), forger.public_pem))}",
        "HMAC with the published key": f"{as_hmac}.{base64url(hmac.sign(as_hmac.encode(), dump(forger.jwk())))}",
        "another algorithm of the key's family": headed(alg="ES512"),
        "a signature of another algorithm": headed(alg="EdDSA"),
        "unknown kid": headed(kid="another"),
        "no kid": headed(kid=None),
        "kid as a path": headed(kid="../../dev/null"),
        "kid as SQL": headed(kid="x' UNION SELECT 'key' --"),
        "kid as a list": headed(kid=[forger.key_id]),
        "another key under a known kid": stranger.token(),
        "a key brought along": stranger.token(header=stranger.header(jwk=stranger.jwk())),
        "a key to be fetched": stranger.token(header=stranger.header(jku="https://attacker.example/jwks")),
        "not yet valid": claims(nbf=now + 600),
        "issued in the future": claims(iat=now + 600, exp=now + 1200),
        "wrong issuer": claims(iss="https://attacker.example"),
        "wrong audience": claims(aud="another"),
        "an ID token": headed(typ="JWT"),
        "a logout token": headed(typ="logout+jwt"),
        "no subject": claims(sub=""),
        "no tenant": forger.token(without="tenant"),
        "roles as text": claims(roles="system_admin"),
        "an unknown extension": headed(crit=["b64"], b64=False),
        "a refresh token": refresh_token,
        "a trailing byte": good + "A",
        "trailing padding": good + "=",
        "a fourth segment": f"{good}.{signature}",
        "another spelling of the signature": good[:-1] + _neighbour(good[-1]),
        "a huge token": forger.token(padding="x" * MAX_TOKEN_BYTES),
        "not a token": "not a token",
    }
    examples = {name: token for name, (token, _, _) in VECTORS.items()} | dict(OTHER_FORMS) | dict(CHANGED)
    invalid = {name: (token, Reason.TOKEN_INVALID) for name, token in (found | examples).items()}
    return invalid | {"expired": (claims(iat=now - 1200, exp=now - 600), Reason.TOKEN_EXPIRED)}


def _neighbour(character: str) -> str:
    """Returns a character that a lenient decoder takes for the same where four bits are spare."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(character) ^ 1]
