"""What can be set from outside."""

from pathlib import Path
from typing import Final, Literal, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import Field, SecretStr, field_validator, model_validator

from auth.sign_ups import SignUpMode
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
        2,
        ge=1,
        le=64,
        description="Passwords that are checked at one time, each with `password_memory_kib` and `password_lanes` threads.",
    )
    password_memory_kib: int = Field(
        65_536,
        ge=8_192,
        le=4_194_304,
        description="Memory in KiB that hashing a password takes (Argon2id); `python -m auth.calibrate` finds these three.",
    )
    password_passes: int = Field(
        3, ge=1, le=100, description="Passes over the memory that hashing a password takes (Argon2id)."
    )
    password_lanes: int = Field(4, ge=1, le=64, description="Threads that hashing a password takes (Argon2id).")
    password_waiting: int = Field(
        16, ge=0, le=1000, description="Passwords that wait to be checked; more are refused with RESOURCE_EXHAUSTED."
    )
    key_publish_seconds: int = Field(
        300,
        ge=0,
        le=86_400,
        description=(
            "Time in seconds for which a new signing key is published before it signs; longer than anyone keeps the keys."
        ),
    )
    public_url: str = Field(
        "", description="Address of the edge as clients reach it, for OpenID discovery; empty takes the issuer."
    )
    signing_keys_seconds: float = Field(
        10.0, ge=0, le=300, description="Time in seconds after which the signing keys are read again."
    )

    sign_up: SignUpMode = Field(
        SignUpMode.INVITED,
        description=(
            "Who may get an account: `open` everyone, in a tenant of their own; `invited` whom an administrator invites; "
            "`closed` nobody, but for those whom a system administrator makes."
        ),
    )
    delivery: Literal["console", "webhook"] = Field(
        "console",
        description=(
            "How one-time tokens reach the owner of an email address: `console` writes them to standard output, which is "
            "for trying things out; `webhook` posts them to `delivery_webhook_url`."
        ),
    )
    delivery_webhook_url: str = Field("", description="Where the webhook posts messages to, https outside of a test.")
    delivery_webhook_secret: SecretStr = Field(
        SecretStr(""), description="What the webhook signs messages with: at least 32 random characters."
    )
    sign_up_token_seconds: int = Field(
        259_200, ge=60, le=2_592_000, description="Time in seconds for which an invitation or sign-up token is good."
    )
    password_reset_token_seconds: int = Field(
        1800, ge=60, le=86_400, description="Time in seconds for which a token to reset a password is good."
    )
    sign_in_account_burst: int = Field(
        10, ge=1, le=100_000, description="Failed sign-ins on one account before it is slowed down."
    )
    sign_in_account_seconds: float = Field(
        60.0, gt=0, le=86_400, description="Time in seconds after which a slowed-down account gets another try."
    )
    sign_in_address_burst: int = Field(
        50, ge=1, le=1_000_000, description="Failed sign-ins from one address (IPv6: /64) before it is slowed down."
    )
    sign_in_address_seconds: float = Field(
        6.0, gt=0, le=86_400, description="Time in seconds after which a slowed-down address gets another try."
    )
    message_burst: int = Field(
        3, ge=1, le=100_000, description="Messages that anyone may ask for at once for one email address."
    )
    message_seconds: float = Field(
        600.0, gt=0, le=86_400, description="Time in seconds after which a further message may be asked for."
    )
    tenant_limits_seconds: float = Field(
        30.0, gt=0, le=3600, description="Time in seconds after which the limits of tenants are written to Redis again."
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

    @model_validator(mode="after")
    def _can_deliver(self) -> Self:
        if self.delivery == "webhook":
            if not self.delivery_webhook_url.startswith(("https://", "http://")):
                raise ValueError("delivery_webhook_url: must be an http or https address")
            if len(self.delivery_webhook_secret.get_secret_value()) < _LEAST_CHARACTERS:
                raise ValueError(f"delivery_webhook_secret: must be at least {_LEAST_CHARACTERS} random characters")
        return self

    def derive_keys(self, purpose: str) -> tuple[bytes, ...]:
        """Returns a key of 32 bytes from each key-encryption key, the current one's first (HKDF, RFC 5869).

        Args:
            purpose: What the keys are for; keys for different purposes tell nothing of each other.
        """
        return tuple(
            HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"geomesh auth: {purpose}".encode()).derive(part.encode())
            for part in self.key_encryption_key.get_secret_value().split()
        )
