"""What can be set from outside."""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, SecretStr, field_validator

from meshkit.settings import ServiceSettings

_KEY_BYTES: Final = 32
_LEAST_CHARACTERS: Final = 32
_LEAST_DISTINCT_CHARACTERS: Final = 8


class Settings(ServiceSettings, service="auth"):
    """The settings of the auth service, read from ``GEOMESH_AUTH_…``."""

    key_encryption_key: SecretStr = Field(
        description=(
            "Secret of at least 32 random characters that signing keys are sealed with; to change it, set the new one "
            "and the old ones behind it, separated by spaces, and run `python -m auth.setup`."
        )
    )
    administrator_password_path: Path | None = Field(
        None,
        description=(
            "File that set-up reads the first administrator's password from, or writes a random one to if there is none."
        ),
    )
    access_token_seconds: int = Field(
        900, ge=1, le=86_400, description="Time in seconds for which an access token is good."
    )
    refresh_token_seconds: int = Field(
        2_592_000, ge=1, le=31_536_000, description="Time in seconds for which an unspent refresh token is good."
    )
    refresh_grace_seconds: float = Field(
        30.0,
        ge=0,
        le=300,
        description="Time in seconds in which a client that lost the answer may spend a refresh token again.",
    )
    password_threads: int = Field(
        2, ge=1, le=64, description="Passwords that are checked at one time, with 64 MiB of memory and 4 threads each."
    )
    password_waiting: int = Field(
        16, ge=0, le=1000, description="Passwords that wait to be checked; more are refused with RESOURCE_EXHAUSTED."
    )
    signing_keys_seconds: float = Field(
        10.0, ge=0, le=300, description="Time in seconds after which the signing keys are read again."
    )

    @field_validator("key_encryption_key")
    @classmethod
    def _is_random(cls, value: SecretStr) -> SecretStr:
        parts = value.get_secret_value().split()
        if not parts or any(
            len(part) < _LEAST_CHARACTERS or len(set(part)) < _LEAST_DISTINCT_CHARACTERS for part in parts
        ):
            raise ValueError(f"must be at least {_LEAST_CHARACTERS} random characters")
        return value

    def derive_keys(self, purpose: str) -> tuple[bytes, ...]:
        """Returns a key of 32 bytes from each key-encryption key, the current one's first (HKDF, RFC 5869).

        Args:
            purpose: What the keys are for; keys for different purposes tell nothing of each other.
        """
        return tuple(
            HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"geomesh auth: {purpose}".encode()).derive(part.encode())
            for part in self.key_encryption_key.get_secret_value().split()
        )
