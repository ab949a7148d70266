"""Between the domain's values and the contract's messages."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from auth.access_tokens import CLAIMS
from auth.api_keys import ApiKey
from auth.exchange import Issued
from auth.introspection import TokenFacts
from auth.service_accounts import ServiceAccount
from auth.sessions import Origin, Session, Tokens
from auth.signing_keys import ALGORITHM, PublicKey
from geomesh.auth.v1 import auth_pb2 as pb
from meshkit.context import RequestContext
from meshkit.errors import InvalidInput
from meshkit.identity import PERMISSIONS, Identity, permission_name
from meshkit.paging import PageToken
from meshkit.settings import ServiceSettings

_USUAL_PAGE: Final = 50
_MOST_PAGE: Final = 200

ItemT = TypeVar("ItemT", Session, ApiKey, ServiceAccount)


def token_pair(tokens: Tokens) -> pb.TokenPair:
    """Returns the tokens of a session."""
    return pb.TokenPair(
        access_token=tokens.access_token,
        token_type="Bearer",  # noqa: S106 - the scheme's name
        expires_in_seconds=tokens.access_seconds,
        refresh_token=tokens.refresh_token,
        refresh_expires_in_seconds=tokens.refresh_seconds,
    )


def who(identity: Identity) -> pb.WhoAmIResponse:
    """Returns the caller."""
    response = pb.WhoAmIResponse(
        subject=identity.subject,
        tenant=identity.tenant,
        roles=identity.roles,
        permissions=[permission_name(permission) for permission in sorted(identity.permissions)],
        plan=identity.plan,
    )
    response.expire_time.FromSeconds(int(identity.expires_at))
    return response


def key_set(keys: Sequence[PublicKey]) -> pb.JsonWebKeySet:
    """Returns the published keys as RFC 7517 has them."""
    return pb.JsonWebKeySet(
        keys=[
            pb.JsonWebKey(kty="EC", use="sig", alg=ALGORITHM, kid=key.key_id, crv="P-256", x=key.x, y=key.y)
            for key in keys
        ]
    )


def origin(call: RequestContext, address: str) -> Origin:
    """Returns where a call comes from, and what its client calls itself."""
    return Origin(_plain(address), _plain(call.text("user-agent")))


def access_token(issued: Issued) -> pb.AccessToken:
    """Returns the token of a program."""
    return pb.AccessToken(
        access_token=issued.access_token,
        token_type="Bearer",  # noqa: S106 - the scheme's name
        expires_in_seconds=issued.seconds,
        scope=" ".join(issued.scopes),
    )


def session(found: Session, current_id: str) -> pb.Session:
    """Returns a session as its owner sees it."""
    return pb.Session(
        session_id=found.id,
        create_time=_timestamp(found.created_at),
        refresh_time=_timestamp(found.rotated_at),
        expire_time=_timestamp(found.expires_at),
        address=found.origin.address,
        user_agent=found.origin.user_agent,
        current=found.id == current_id,
    )


def api_key(key: ApiKey) -> pb.ApiKey:
    """Returns what may be shown of an API key."""
    return pb.ApiKey(
        api_key_id=key.id,
        display_name=key.display_name,
        scopes=key.scopes,
        create_time=_timestamp(key.created_at),
        expire_time=_timestamp(key.expires_at),
        last_use_time=_timestamp(key.last_used_at),
        hint=key.hint,
    )


def service_account(account: ServiceAccount) -> pb.ServiceAccount:
    """Returns what may be shown of a service account."""
    return pb.ServiceAccount(
        service_account_id=account.id,
        display_name=account.display_name,
        roles=account.roles,
        scopes=account.scopes,
        create_time=_timestamp(account.created_at),
        last_use_time=_timestamp(account.last_used_at),
    )


def introspected(facts: TokenFacts | None, settings: ServiceSettings) -> pb.IntrospectTokenResponse:
    """Returns what RFC 7662 tells of a token, which may be of an issuer that the settings trust."""
    if facts is None:
        return pb.IntrospectTokenResponse(active=False)
    issuer, audience = settings.token_issuer, settings.token_audience
    for each in settings.trusted_issuers:
        if facts.subject.startswith(each.subject_here("")):
            issuer, audience = each.issuer, each.audience
    response = pb.IntrospectTokenResponse(
        active=True,
        scope=" ".join(facts.scopes),
        client_id=facts.client_id,
        token_type=facts.token_type,
        exp=int(facts.expires_at),
        iat=int(facts.issued_at),
        sub=facts.subject,
        aud=audience,
        iss=issuer,
        tenant=facts.tenant,
        roles=facts.roles,
        plan=facts.plan,
    )
    if facts.token_id:
        response.jti = facts.token_id
    if facts.session_id:
        response.sid = facts.session_id
    return response


def discovery(issuer: str, public_url: str) -> pb.OpenIdConfiguration:
    """Returns the metadata of the issuer, whose endpoints are below `public_url`."""
    base = public_url.rstrip("/")
    return pb.OpenIdConfiguration(
        issuer=issuer,
        jwks_uri=f"{base}/.well-known/jwks.json",
        token_endpoint=f"{base}/oauth2/token",
        introspection_endpoint=f"{base}/oauth2/introspect",
        userinfo_endpoint=f"{base}/v1/auth/me",
        end_session_endpoint=f"{base}/v1/auth/logout",
        service_documentation=f"{base}/docs",
        grant_types_supported=["client_credentials", "api_key", "refresh_token"],
        token_endpoint_auth_methods_supported=["client_secret_basic", "client_secret_post"],
        response_types_supported=[],
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=[ALGORITHM],
        scopes_supported=list(PERMISSIONS),
        claims_supported=CLAIMS,
    )


def expiry(request: pb.CreateApiKeyRequest) -> datetime | None:
    """Returns when a key shall end, if the request says so.

    Raises:
        InvalidInput: It names no time.
    """
    if not request.HasField("expire_time"):
        return None
    try:
        return request.expire_time.ToDatetime(tzinfo=UTC)
    except ValueError:
        raise InvalidInput("expire_time", "is no time between the years 1 and 9999") from None


def after(query: Any) -> tuple[datetime, str] | None:
    """Returns the position behind which the page that is asked for begins."""
    position: tuple[datetime, str] | None = PageToken.decode(query.page_token, query=query, types=(datetime, str))
    return position


def page_size(query: Any) -> int:
    """Returns how many entries the page has at most."""
    return min(query.page_size or _USUAL_PAGE, _MOST_PAGE)


def paged(items: Sequence[ItemT], query: Any) -> tuple[Sequence[ItemT], str]:
    """Returns a page and the token of the next one. One item more than the page holds says that there is a next one."""
    size = page_size(query)
    if len(items) <= size:
        return items, ""
    last = items[size - 1]
    return items[:size], PageToken.encode((last.created_at, last.id), query=query)


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def _plain(text: str) -> str:
    """Returns printable characters only: what a client calls itself is shown to people."""
    return "".join(each for each in text if each.isprintable())
