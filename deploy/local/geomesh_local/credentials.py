"""The stack's passwords: made once, kept in a file that only its owner reads."""

import json
import secrets
from pathlib import Path
from typing import Self

from geomesh_local.errors import StackError
from geomesh_local.ports import SERVICES

ADMIN_ROLE = "geomesh_admin"
OWNER_ROLE = "geomesh_owner"
_NAMES = (
    ADMIN_ROLE,
    OWNER_ROLE,
    "redis",
    "key_encryption",
    *(f"geomesh_{service.replace('-', '_')}" for service in SERVICES),
)


class Credentials:
    """Passwords by role."""

    def __init__(self, passwords: dict[str, str]) -> None:
        self._passwords = passwords

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads the file; makes it, or adds what a newer version of the stack needs.

        Raises:
            StackError: if the file is damaged.
        """
        try:
            known = json.loads(path.read_text()) if path.exists() else {}
        except ValueError:
            raise StackError(f"{path} is damaged; `make clean` removes the stack with its data") from None
        if missing := [name for name in _NAMES if name not in known]:
            known |= {name: secrets.token_urlsafe(32) for name in missing}
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(json.dumps(known, indent=1))
        return cls(known)

    def __getitem__(self, name: str) -> str:
        return self._passwords[name]
