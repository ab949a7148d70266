"""The keys that access tokens are signed with: made, sealed at rest, and published."""

import asyncio
import hashlib
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from meshkit.errors import MeshError, Unavailable

ALGORITHM: Final = "ES256"

_COORDINATE_BYTES: Final = 32

_LOG = structlog.get_logger(__name__)


class SealError(Exception):
    """None of the key-encryption keys opens a sealed key."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """The published half of a key on the curve P-256.

    Attributes:
        key_id: Its SHA-256 thumbprint (RFC 7638), base64url.
        x: Coordinate of the public point, base64url.
        y: Coordinate of the public point, base64url.
    """

    key_id: str
    x: str
    y: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair."""

    public: PublicKey
    private: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as the database keeps it.

    Attributes:
        public: The published half.
        sealed: The private half, which :class:`KeySeal` opens.
        signs: Whether tokens may be signed with it already; until then it is only published.
    """

    public: PublicKey
    sealed: bytes
    signs: bool


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as an operator sees it.

    Attributes:
        key_id: Its id.
        created_at: When it was made and published.
        signs_from: When it signs or began to.
        published_until: When it is withdrawn; None while that is open.
        signs: Whether it might sign now; of several the newest does.
    """

    key_id: str
    created_at: datetime
    signs_from: datetime
    published_until: datetime | None
    signs: bool


def generate() -> SigningKey:
    """Returns a new random key."""
    return _pair(ec.generate_private_key(ec.SECP256R1()))


class KeySeal:
    """Seals private keys with key-encryption keys (Fernet: AES-128-CBC and HMAC-SHA256)."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """Takes keys of 32 bytes; the first one seals, all of them open."""
        ciphers = [Fernet(urlsafe_b64encode(key)) for key in keys]
        self._all = MultiFernet(ciphers)
        self._current = ciphers[0]

    def close(self, key: SigningKey) -> bytes:
        """Returns the private half, sealed."""
        return self._current.encrypt(key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def open(self, sealed: bytes) -> SigningKey:
        """Returns the key pair of a sealed private half.

        Raises:
            SealError: It was sealed with another key-encryption key.
        """
        try:
            encoded = self._all.decrypt(sealed)
        except InvalidToken:
            raise SealError("the key-encryption key is not the one that the signing key was sealed with") from None
        private = load_der_private_key(encoded, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise SealError("the sealed key is not on an elliptic curve")
        return _pair(private)

    def is_current(self, sealed: bytes) -> bool:
        """Tells whether the first key-encryption key opens it, so that the others may go."""
        try:
            self._current.decrypt(sealed)
        except InvalidToken:
            return False
        return True


class KeyStore(Protocol):
    """Where keys are kept."""

    async def find_published(self) -> list[StoredKey]:
        """Returns every key that is published, the one to sign with before older ones."""
        ...


@dataclass(frozen=True, slots=True)
class _Loaded:
    published: tuple[PublicKey, ...]
    signing: SigningKey | None
    until: float


class PublishedKeys:
    """The keys in use, kept for a while, and for longer while the database is away."""

    def __init__(self, store: KeyStore, seal: KeySeal, *, keep_seconds: float) -> None:
        """Reads nothing yet.

        Args:
            store: Where the keys are kept.
            seal: What opens them.
            keep_seconds: Time after which they are read again.
        """
        self._store = store
        self._seal = seal
        self._keep_seconds = keep_seconds
        self._loaded: _Loaded | None = None
        self._loading = asyncio.Lock()

    async def published(self) -> tuple[PublicKey, ...]:
        """Returns every key that a token may be signed with, now or soon.

        Raises:
            Unavailable: The database was never there.
        """
        return (await self._current()).published

    async def signing(self) -> SigningKey:
        """Returns the key to sign with.

        Raises:
            Unavailable: There is none, or none that the key-encryption key opens, or the database was never there.
        """
        key = (await self._current()).signing
        if key is None:
            raise Unavailable("there is no key to sign tokens with", dependency="signing-keys")
        return key

    async def _current(self) -> _Loaded:
        loaded = self._loaded
        if loaded is not None and time.monotonic() < loaded.until:
            return loaded
        async with self._loading:
            if self._loaded is loaded:
                self._loaded = await self._load(loaded)
            assert self._loaded is not None  # noqa: S101 - _load returns or raises
            return self._loaded

    async def _load(self, old: _Loaded | None) -> _Loaded:
        until = time.monotonic() + self._keep_seconds
        try:
            stored = await self._store.find_published()
        except MeshError:
            if old is None:
                raise
            return _Loaded(old.published, old.signing, until)
        newest = next((key for key in stored if key.signs), None)
        return _Loaded(tuple(key.public for key in stored), self._open(newest, old), until)

    def _open(self, stored: StoredKey | None, old: _Loaded | None) -> SigningKey | None:
        if stored is None:
            _LOG.error("no_signing_key", remedy="run python -m auth.setup")
            return None
        if old is not None and old.signing is not None and old.signing.public == stored.public:
            return old.signing
        try:
            return self._seal.open(stored.sealed)
        except SealError as error:
            _LOG.error("signing_key_sealed", key_id=stored.public.key_id, error=str(error))
            return None


def _pair(private: ec.EllipticCurvePrivateKey) -> SigningKey:
    point = private.public_key().public_numbers()
    x, y = _coordinate(point.x), _coordinate(point.y)
    # RFC 7638, section 3.2: the required members in lexicographic order, without white space.
    members = json.dumps({"crv": "P-256", "kty": "EC", "x": x, "y": y}, separators=(",", ":"))
    return SigningKey(PublicKey(_base64url(hashlib.sha256(members.encode()).digest()), x, y), private)


def _coordinate(number: int) -> str:
    return _base64url(number.to_bytes(_COORDINATE_BYTES, "big"))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
