"""Who calls, and what their roles allow. The roles and permissions of the whole mesh are the tables in this module."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from geomesh.options.v1 import options_pb2

PUBLIC_TENANT: Final = "public"
"""The operator's tenant, whose rows everyone reads."""

PUBLIC_ROLE: Final = "public"
USER_ROLE: Final = "user"
PREMIUM_ROLE: Final = "premium"
TENANT_ADMIN_ROLE: Final = "tenant_admin"
SYSTEM_ADMIN_ROLE: Final = "system_admin"

PLANS: Final = ("public", "user", "premium", "enterprise")
"""The limits a caller may live under, the tightest first."""

_PUBLIC: Final = frozenset({options_pb2.PERMISSION_READ_PUBLIC_DATA})
_USER: Final = _PUBLIC | {options_pb2.PERMISSION_READ_OWN_DATA, options_pb2.PERMISSION_WRITE_OWN_DATA}
_PREMIUM: Final = _USER | {options_pb2.PERMISSION_READ_TENANT_DATA}
_TENANT_ADMIN: Final = _PREMIUM | {options_pb2.PERMISSION_WRITE_TENANT_DATA, options_pb2.PERMISSION_MANAGE_TENANT_USERS}
_SYSTEM_ADMIN: Final = _TENANT_ADMIN | {
    options_pb2.PERMISSION_ADMIN_USERS,
    options_pb2.PERMISSION_ADMIN_SYSTEM,
    options_pb2.PERMISSION_ADMIN_MONITORING,
}

ROLES: Final[Mapping[str, frozenset["options_pb2.Permission.ValueType"]]] = {
    PUBLIC_ROLE: _PUBLIC,
    USER_ROLE: _USER,
    PREMIUM_ROLE: _PREMIUM,
    TENANT_ADMIN_ROLE: _TENANT_ADMIN,
    SYSTEM_ADMIN_ROLE: _SYSTEM_ADMIN,
}
"""What each role allows."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller as their verified token names them.

    Attributes:
        subject: The account's id; empty for a caller without a token.
        tenant: The tenant whose rows the caller owns.
        roles: The roles as the token lists them, also those that this version of geomesh does not know.
        permissions: What the roles allow together.
        token_id: `jti` of the access token; empty without one.
        expires_at: When the token ends, in Unix seconds; infinite without one.
        plan: The limits that the caller lives under, one of :data:`PLANS`.
        session_id: `sid`: the session, or the API key, that the token was got by; empty where there is neither.
        client_id: What got the token: :data:`SIGN_IN` for a person, else the service account or the API key.
        issued_at: `iat`, in Unix seconds with their fraction.
    """

    subject: str
    tenant: str
    roles: tuple[str, ...]
    permissions: frozenset["options_pb2.Permission.ValueType"]
    token_id: str
    expires_at: float
    plan: str
    session_id: str = ""
    client_id: str = ""
    issued_at: float = 0.0


SIGN_IN: Final = "geomesh"
"""`client_id` of tokens that a person got by signing in through the mesh's own door."""


def permission_name(permission: "options_pb2.Permission.ValueType") -> str:
    """Returns a permission as people and the claim `scope` write it, e.g. ``read:public_data``."""
    name = options_pb2.Permission.Name(permission)
    return name.removeprefix("PERMISSION_").lower().replace("_", ":", 1)


PERMISSIONS: Final = {permission_name(each): each for each in sorted(_SYSTEM_ADMIN)}
"""Every permission by its name."""


def permissions_of(roles: Iterable[str], scope: str | None = None) -> frozenset["options_pb2.Permission.ValueType"]:
    """Returns what `roles` allow together, which is never less than everyone may. An unknown role allows nothing.

    Args:
        roles: Names of :data:`ROLES`.
        scope: The names of permissions, with a space between, that a token is narrowed to (RFC 6749, section 3.3); it
            gives nothing that the roles do not. None narrows nothing.
    """
    return _permissions_of(tuple(roles), scope)


# A handful of combinations of roles is all there is, and every first sight of a token asks for one.
@lru_cache(maxsize=256)
def _permissions_of(roles: tuple[str, ...], scope: str | None) -> frozenset["options_pb2.Permission.ValueType"]:
    allowed = _PUBLIC.union(*(ROLES.get(role, _PUBLIC) for role in roles))
    if scope is None:
        return allowed
    named = {PERMISSIONS[name] for name in scope.split(" ") if name in PERMISSIONS}
    return _PUBLIC | (allowed & named)


ANONYMOUS: Final = Identity(
    subject="",
    tenant=PUBLIC_TENANT,
    roles=(PUBLIC_ROLE,),
    permissions=_PUBLIC,
    token_id="",
    expires_at=float("inf"),
    plan=PLANS[0],
)
"""A caller without a token."""
