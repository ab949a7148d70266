"""The session as a cookie, for what a browser sends without headers of its own, such as an EventSource.

The edge makes it an authorization on calls that change nothing; see docs/limits.md.
"""

from collections.abc import Iterable
from typing import Final

_NAME: Final = "geomesh_session"
_FORWARDED_PROTOCOL: Final = "x-forwarded-proto"


def kept(access_token: str, seconds: int, *, secure: bool) -> tuple[str, str]:
    """Returns the header that gives a browser the cookie.

    Args:
        access_token: What the cookie holds.
        seconds: How long the browser is to keep it.
        secure: Whether it is to be sent over TLS alone.
    """
    return "set-cookie", f"{_NAME}={access_token}; Path=/; Max-Age={seconds}; {_rules(secure=secure)}"


def forgotten(*, secure: bool) -> tuple[str, str]:
    """Returns the header that takes the cookie away."""
    return "set-cookie", f"{_NAME}=; Path=/; Max-Age=0; {_rules(secure=secure)}"


def came_over_tls(metadata: Iterable[tuple[str, str | bytes]]) -> bool:
    """Tells from a call's metadata whether its client spoke TLS with the edge, which the edge itself says."""
    return (_FORWARDED_PROTOCOL, "https") in metadata


def _rules(*, secure: bool) -> str:
    # No script reads it, and no page of another site causes it to be sent.
    return "HttpOnly; SameSite=Strict" + ("; Secure" if secure else "")
