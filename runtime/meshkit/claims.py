"""Whom the verified claims of an access token name."""

from collections.abc import Mapping
from typing import Any, Final

from meshkit.identity import PLANS, Identity, permissions_of
from meshkit.jws import invalid
from meshkit.trusted_issuers import TrustedIssuer

MOST_FOREIGN_SECONDS: Final = 86_400
"""Tokens of other issuers that live longer are refused: a revocation must outlive every token that it covers."""


def identity_of(claims: Mapping[str, Any]) -> Identity:
    """Returns whom verified claims of our own name, which are all there and good now.

    Raises:
        Unauthenticated: A claim is not what it must be.
    """
    token_id = claims["jti"]
    if not (isinstance(token_id, str) and token_id):
        raise invalid("a claim has the wrong type or is empty")
    return _made(claims, token_id)


def foreign_identity(claims: Mapping[str, Any], issuer: TrustedIssuer) -> Identity:
    """Returns whom verified claims of another issuer, which are all there and good now, name here.

    Raises:
        Unauthenticated: They name nobody here, or for too long.
    """
    try:
        here = issuer.claims_here(claims)
    except ValueError as error:
        raise invalid(str(error)) from None
    if here["exp"] - here["iat"] > MOST_FOREIGN_SECONDS:
        raise invalid("it lives longer than a day")
    return _made(here, here["jti"])


def _made(claims: Mapping[str, Any], token_id: str) -> Identity:
    subject, tenant, roles, plan = claims["sub"], claims["tenant"], claims["roles"], claims.get("plan", PLANS[0])
    scope, session_id, client_id = claims.get("scope"), claims.get("sid", ""), claims.get("client_id", "")
    if not (isinstance(subject, str) and isinstance(tenant, str) and isinstance(plan, str) and subject and tenant):
        raise invalid("a claim has the wrong type or is empty")
    if not (isinstance(scope, str | None) and isinstance(session_id, str) and isinstance(client_id, str)):
        raise invalid("a claim has the wrong type")
    if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
        raise invalid("the claim roles is no list of names")
    names = tuple(roles)
    return Identity(
        subject,
        tenant,
        names,
        permissions_of(names, scope),
        token_id,
        float(claims["exp"]),
        plan,
        session_id,
        client_id,
        float(claims["iat"]),
    )
