"""The second factor: time-based codes (RFC 6238), and recovery codes for the day when the authenticator is lost."""

import hashlib
import secrets
import time
from base64 import b32encode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final

import pyotp
import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pyotp.utils import strings_equal

_ISSUER: Final = "geomesh"
_STEP_SECONDS: Final = 30
_DIGITS: Final = 6
_STEPS_OFF: Final = 1
_RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10
_LOG = structlog.get_logger(__name__)


class SecondFactor:
    """Makes secrets and tells right codes from wrong ones. Secrets are sealed: who reads the database has none."""

    def __init__(self, keys: Sequence[bytes], *, clock: Callable[[], float] = time.time) -> None:
        """Takes keys of 32 bytes; the first one seals, all of them open."""
        self._cipher = MultiFernet([Fernet(urlsafe_b64encode(key)) for key in keys])
        self._clock = clock

    def enrol(self, email: str) -> tuple[str, str, bytes]:
        """Returns a new secret (160 bits, base32), its `otpauth:` address, and the secret sealed."""
        secret = pyotp.random_base32()
        uri = pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=_ISSUER)
        return secret, uri, self._cipher.encrypt(secret.encode())

    def step_of(self, sealed: bytes, code: str) -> int | None:
        """Returns the time step that a code belongs to, of now and one step before and after; None for a wrong code.

        Every step is compared, in the same time each.
        """
        if not is_time_based(code):
            return None
        try:
            totp = pyotp.TOTP(self._cipher.decrypt(sealed).decode())
        except InvalidToken:
            _LOG.exception("totp_sealed", remedy="put the old key-encryption key back behind the new one")
            return None
        now = int(self._clock()) // _STEP_SECONDS
        steps = range(now - _STEPS_OFF, now + _STEPS_OFF + 1)
        matching = [step for step in steps if strings_equal(totp.generate_otp(step), code)]
        return matching[-1] if matching else None


def is_time_based(code: str) -> bool:
    """Tells the authenticator's codes from recovery codes."""
    return len(code) == _DIGITS and code.isascii() and code.isdigit()


def recovery_codes() -> list[str]:
    """Returns new codes of 80 random bits, in groups of four letters and digits."""
    texts = [b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode() for _ in range(_RECOVERY_CODES)]
    return ["-".join(text[start : start + 4] for start in range(0, len(text), 4)) for text in texts]


def recovery_digest(code: str) -> bytes:
    """Returns the hash under which a recovery code is stored, however it was typed."""
    return hashlib.sha256("".join(filter(str.isalnum, code)).upper().encode()).digest()
