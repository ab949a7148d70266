"""Other OpenID providers whose access tokens the mesh accepts, and what their claims mean here."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

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

    @property
    def jwks_host(self) -> str:
        """The host of `jwks_url`."""
        return urlsplit(self.jwks_url).hostname or ""

    @property
    def jwks_port(self) -> int:
        """The port of `jwks_url`."""
        parts = urlsplit(self.jwks_url)
        return parts.port or (443 if parts.scheme == "https" else 80)

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

    def caller_here(self, subject: object, tenant: object) -> tuple[str, str]:
        """Returns whom two verified claims of theirs name here, and of which tenant.

        Args:
            subject: The claim that names who calls.
            tenant: The claim that names the tenant; whatever it is, where `tenant_claim` is empty.

        Raises:
            ValueError: They name no subject, or no tenant that they may belong to.
        """
        if not (isinstance(subject, str) and 0 < len(subject) <= _LONGEST_SUBJECT):
            raise ValueError(f"the claim {self.subject_claim} is no text of 1 to {_LONGEST_SUBJECT} characters")
        if not self.tenant_claim:
            tenant = self.tenants[0]
        if not isinstance(tenant, str) or tenant not in self.tenants:
            raise ValueError(f"the claim {self.tenant_claim} names no tenant that this issuer speaks for")
        return self.subject_here(subject), tenant

    def subject_here(self, subject: str) -> str:
        """Returns what a subject of theirs is called here."""
        return f"{self.name}|{subject}"

    def claims_here(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what verified claims of theirs mean in the words of our own tokens.

        Raises:
            ValueError: They name no subject, or no tenant that they may belong to.
        """
        subject, tenant = self.caller_here(claims.get(self.subject_claim), claims.get(self.tenant_claim))
        given = [self.roles[name] for name in _names(_at(claims, self.roles_claim)) if name in self.roles]
        token_id, client = claims.get("jti"), claims.get("client_id", claims.get("azp"))
        here = {
            "sub": subject,
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


def _distinct(issuers: list[TrustedIssuer]) -> list[TrustedIssuer]:
    """Refuses two of one name, whose subjects could not be told apart, and two of one issuer."""
    for what in ("name", "issuer"):
        values = [getattr(each, what) for each in issuers]
        if twice := sorted({value for value in values if values.count(value) > 1}):
            raise ValueError(f"{what}: {twice[0]} is there twice")
    return issuers


TrustedIssuers = Annotated[list[TrustedIssuer], AfterValidator(_distinct)]
"""A setting with all of them."""


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
