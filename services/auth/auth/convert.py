"""Between the domain's values and the contract's messages."""

from collections.abc import Sequence

from auth.sessions import Tokens
from auth.signing_keys import ALGORITHM, PublicKey
from geomesh.auth.v1 import auth_pb2 as pb
from geomesh.options.v1 import options_pb2
from meshkit.identity import Identity


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


def permission_name(permission: "options_pb2.Permission.ValueType") -> str:
    """Returns a permission as people write it, e.g. ``read:public_data``."""
    name = options_pb2.Permission.Name(permission)
    return name.removeprefix("PERMISSION_").lower().replace("_", ":", 1)


def key_set(keys: Sequence[PublicKey]) -> pb.JsonWebKeySet:
    """Returns the published keys as RFC 7517 has them."""
    return pb.JsonWebKeySet(
        keys=[
            pb.JsonWebKey(kty="EC", use="sig", alg=ALGORITHM, kid=key.key_id, crv="P-256", x=key.x, y=key.y)
            for key in keys
        ]
    )
