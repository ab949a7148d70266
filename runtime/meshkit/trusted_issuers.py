"""Other OpenID providers whose access tokens the mesh accepts, and what their claims mean here."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from meshkit.identity import PLANS, PUBLIC_TENANT, ROLES, SIGN_IN

_LONGEST_SUBJECT: Final = 255  # OpenID Connect Core 1.0, section 2
_LOCAL: Final = ("http://127.0.0.1", "http://localhost", "http://[::1]")


class TrustedIssuer(BaseModel):
    """One provider. What its tokens may say here is bounded by what stands here, whatever they claim."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern="^[a-z0-9][a-z0-9-]{0,30}$")
    """Stands before each subject, so that no account of theirs is ever one of ours."""
    issuer: str = Field(min_length=1)
    """`iss`, letter by letter."""
    audience: str = Field(min_length=1)
    """`aud`, or one of them."""
    jwks_url: str
    """Where the provider publishes its keys."""
    types: tuple[str, ...] = ("at+jwt",)
    """Values of the header `typ` that its access tokens carry, in small letters; an empty one is none."""
    subject_claim: str = "sub"
    """The claim that names who calls."""
    tenant_claim: str = ""
    """The claim that names the tenant; without it all its tokens are of the only one in `tenants`."""
    tenants: tuple[str, ...] = Field(min_length=1)
    """The tenants that its tokens may belong to."""
    roles_claim: str = ""
    """The claim with the roles or groups, a list or a text with spaces; a dot goes a level deeper."""
    roles: Mapping[str, str] = Field(default_factory=dict)
    """Their roles or groups, each with the role that it gives here; others give none."""
    default_role: str = "user"
    """The role of a caller whose token names none in `roles`."""
    plan: str = "user"
    """The plan that its callers live under."""
    scope_claim: str = ""
    """The claim that narrows permissions, where the provider's scopes are named like ours."""

    @field_validator("jwks_url")
    @classmethod
    def _is_safe(cls, value: str) -> str:
        local = any(value.startswith((f"{host}:", f"{host}/")) for host in _LOCAL)
        if not (value.startswith("https://") or local):
            raise ValueError("must begin with https://, or lead to this machine")
        if not urlsplit(value).hostname:
            raise ValueError("must name a host")
        return value

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for role in (self.default_role, *self.roles.values()):
            if role not in ROLES:
                raise ValueError(f"roles: {role} is none of {', '.join(ROLES)}")
        if self.name == SIGN_IN:
            raise ValueError(f"name: {SIGN_IN} is what our own tokens are got by")
        if self.plan not in PLANS:
            raise ValueError(f"plan: {self.plan} is none of {', '.join(PLANS)}")
        if PUBLIC_TENANT in self.tenants:
            raise ValueError(f"tenants: {PUBLIC_TENANT} is the operator's")
        if not self.tenant_claim and len(self.tenants) != 1:
            raise ValueError("tenants: without tenant_claim there must be exactly one")
        return self

    @property
    def keys(self) -> str:
        """What its key set, and all that is told by it, is called."""
        return f"keys-of-{self.name}"

    @property
    def subject_key(self) -> str:
        """The name under which the edge tells the limits service the subject of a verified token."""
        return f"subject-of-{self.name}"

    @property
    def tenant_key(self) -> str:
        """The name under which it tells the tenant."""
        return f"tenant-of-{self.name}"

    def subject_here(self, subject: str) -> str:
        """Returns what a subject of theirs is called here."""
        return f"{self.name}|{subject}"

    def claims_here(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what verified claims of theirs mean in the words of our own tokens.

        Raises:
            ValueError: They name no subject, or no tenant that they may belong to.
        """
        subject = claims.get(self.subject_claim)
        if not (isinstance(subject, str) and 0 < len(subject) <= _LONGEST_SUBJECT):
            raise ValueError(f"the claim {self.subject_claim} is no text of 1 to {_LONGEST_SUBJECT} characters")
        tenant = claims.get(self.tenant_claim) if self.tenant_claim else self.tenants[0]
        if tenant not in self.tenants:
            raise ValueError(f"the claim {self.tenant_claim} names no tenant that this issuer speaks for")
        given = [self.roles[name] for name in _names(_at(claims, self.roles_claim)) if name in self.roles]
        token_id, client = claims.get("jti"), claims.get("client_id", claims.get("azp"))
        here = {
            "sub": self.subject_here(subject),
            "tenant": tenant,
            "roles": list(dict.fromkeys(given)) or [self.default_role],
            "plan": self.plan,
            "jti": f"{self.name}|{token_id}" if isinstance(token_id, str) and token_id else "",
            "client_id": f"{self.name}|{client}" if isinstance(client, str) else self.name,
            "iat": claims["iat"],
            "exp": claims["exp"],
        }
        if self.scope_claim:
            here["scope"] = " ".join(_names(_at(claims, self.scope_claim)))
        return here


def check_apart(issuers: Iterable[TrustedIssuer], own_issuer: str) -> None:
    """Returns when no caller of one issuer could be taken for another's, or for one of our own.

    Raises:
        ValueError: Two have the same name or the same `iss`, or one has ours.
    """
    trusted = tuple(issuers)
    for what, values in (
        ("name", [each.name for each in trusted]),
        ("issuer", [own_issuer, *(each.issuer for each in trusted)]),
    ):
        if len(set(values)) < len(values):
            raise ValueError(f"trusted_issuers: each needs its own {what}, or their callers could be confused")


def _at(claims: Mapping[str, Any], path: str) -> object:
    """Returns the claim at a path such as ``realm_access.roles``; a claim with a dot in its name comes first."""
    if path in claims:
        return claims[path]
    found: object = claims
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _names(value: object) -> Sequence[str]:
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
