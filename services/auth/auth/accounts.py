"""Accounts: who may sign in, for which tenant, in which roles."""

import re
from dataclasses import dataclass
from typing import Final

from meshkit.errors import InvalidInput
from meshkit.identity import (
    PLANS,
    PREMIUM_ROLE,
    PUBLIC_ROLE,
    PUBLIC_TENANT,
    ROLES,
    SYSTEM_ADMIN_ROLE,
    TENANT_ADMIN_ROLE,
    USER_ROLE,
)

ADMINISTRATOR_EMAIL: Final = "admin@localhost"
"""The account that set-up makes."""

LEAST_PASSWORD_LENGTH: Final = 8
"""Characters of a password at least (NIST SP 800-63B, section 5.1.1.2)."""

USUAL_PLAN: Final = "user"
"""The plan of a tenant that nobody chose one for."""

_PLAN_OF_ROLE: Final = {
    PUBLIC_ROLE: "public",
    USER_ROLE: "user",
    PREMIUM_ROLE: "premium",
    TENANT_ADMIN_ROLE: "enterprise",
    SYSTEM_ADMIN_ROLE: "enterprise",
}
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Account:
    """Who signs in.

    Attributes:
        id: The `sub` of the account's tokens.
        tenant: The tenant whose data the account owns.
        roles: Names of :data:`meshkit.identity.ROLES`.
        plan: One of :data:`meshkit.identity.PLANS`.
    """

    id: str
    tenant: str
    roles: tuple[str, ...]
    plan: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account with what proves that someone may use it.

    Attributes:
        account: The account.
        password_hash: Argon2's own encoding.
        is_active: Whether it may sign in.
        totp_sealed: The sealed secret of the second factor; None without one.
    """

    account: Account
    password_hash: str
    is_active: bool
    totp_sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account that does not exist yet, by its email address, which is unique in the whole mesh."""

    email: str
    tenant: str
    role: str
    plan: str


ADMINISTRATOR: Final = NewAccount(
    ADMINISTRATOR_EMAIL, PUBLIC_TENANT, SYSTEM_ADMIN_ROLE, _PLAN_OF_ROLE[SYSTEM_ADMIN_ROLE]
)
"""The operator's account, which owns the public data."""


def new_account(email: str, tenant: str, role: str, plan: str | None = None) -> NewAccount:
    """Returns the account to make.

    Args:
        email: Its address, in upper or lower case.
        tenant: The tenant, named by small letters, digits and hyphens.
        role: One of :data:`meshkit.identity.ROLES`.
        plan: One of :data:`meshkit.identity.PLANS`; None takes the role's usual one.

    Raises:
        InvalidInput: There is no such role or plan, or the tenant may not be that one.
    """
    if role not in ROLES:
        raise InvalidInput("role", f"must be one of {', '.join(ROLES)}")
    if plan is not None and plan not in PLANS:
        raise InvalidInput("plan", f"must be one of {', '.join(PLANS)}")
    if not _TENANT.fullmatch(tenant):
        raise InvalidInput("tenant", "must be 1 to 63 small letters, digits and hyphens, and not begin with a hyphen")
    if tenant == PUBLIC_TENANT and role != SYSTEM_ADMIN_ROLE:
        raise InvalidInput("tenant", f"{PUBLIC_TENANT} is the operator's; only a {SYSTEM_ADMIN_ROLE} may own its data")
    return NewAccount(normalize_email(email), tenant, role, plan or _PLAN_OF_ROLE[role])


def normalize_email(email: str) -> str:
    """Returns the one spelling of an address by which its account is found."""
    return email.lower()
