"""Scopes: the names of permissions that a token is narrowed to."""

from collections.abc import Iterable, Sequence

from meshkit.errors import InvalidInput
from meshkit.identity import PERMISSIONS, permission_name, permissions_of


def scopes_of(roles: Iterable[str], narrowed_to: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns what `roles` allow, as far as `narrowed_to` names it, in the order of the contract; nothing narrows nothing."""
    scope = " ".join(narrowed_to) if narrowed_to else None
    return tuple(permission_name(each) for each in sorted(permissions_of(roles, scope)))


def check_known(scopes: Sequence[str], field: str) -> None:
    """Returns when each is the name of a permission.

    Raises:
        InvalidInput: One is not.
    """
    for index, scope in enumerate(scopes):
        if scope not in PERMISSIONS:
            raise InvalidInput(f"{field}[{index}]", f"must be one of {', '.join(PERMISSIONS)}")


def check_held(scopes: Sequence[str], held: Iterable[str], field: str) -> None:
    """Returns when each is the name of a permission that is held.

    Raises:
        InvalidInput: One is not.
    """
    check_known(scopes, field)
    allowed = set(held)
    for index, scope in enumerate(scopes):
        if scope not in allowed:
            raise InvalidInput(f"{field}[{index}]", "is a permission that you do not hold")
