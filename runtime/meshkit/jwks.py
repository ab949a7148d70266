"""The keys that access tokens are signed with, fetched from the auth service and kept while it is away."""

import asyncio
import contextvars
import json
import random
import time
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
import structlog

from meshkit.errors import Unavailable
from meshkit.health import State
from meshkit.settings import ServiceSettings

FetchJwks = Callable[[], Awaitable[Mapping[str, Any]]]
"""Returns a JSON Web Key Set (RFC 7517)."""

_ALGORITHM_OF_KEY: Final = {("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA", ("RSA", None): "RS256"}
ALGORITHMS: Final = frozenset(_ALGORITHM_OF_KEY.values())
"""The signature algorithms that are accepted at all, all of them asymmetric."""

_FETCH_TIMEOUT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 1.0
"""How long a call waits for keys."""

_MOST_BYTES: Final = 1024 * 1024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key and the one algorithm that it may be used with.

    Attributes:
        algorithm: One of :data:`ALGORITHMS`.
        published: The entry of the key set, by which two keys are compared.
        key: The same, ready for PyJWT.
    """

    algorithm: str
    published: Mapping[str, Any]
    key: jwt.PyJWK = field(compare=False)


class JwksClient:
    """Holds the published keys by their ids, and renews them in the background once started.

    It is a :class:`meshkit.health.Dependency`, and not a required one: calls without a token work without keys.
    """

    required: Final = False
    breaker: Final = ""

    def __init__(
        self,
        settings: ServiceSettings,
        fetch: FetchJwks,
        *,
        name: str = "auth-keys",
        on_withdrawal: Callable[[], object] = lambda: None,
    ) -> None:
        """Prepares without fetching.

        Args:
            settings: How often keys are renewed, and how soon an unknown key id may make us ask again.
            fetch: Returns the key set; whatever it raises counts as a failed fetch.
            name: Its name in health details.
            on_withdrawal: Called when a key that was there is gone or has changed.
        """
        self._name = name
        self._refresh_seconds = settings.jwks_refresh_seconds
        self._refetch_seconds = settings.jwks_refetch_seconds
        self._fetch = fetch
        self._on_withdrawal = on_withdrawal
        self._keys: dict[str, VerificationKey] = {}
        self._fetching: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._next_fetch = 0.0
        self._state = State.DEGRADED

    @property
    def name(self) -> str:
        """The name in health details."""
        return self._name

    @property
    def state(self) -> State:
        """OK when the last fetch gave keys, DEGRADED when it failed but old keys work, DOWN without any."""
        return self._state

    async def start(self) -> None:
        """Begins to renew the keys in the background."""
        self._renewing = asyncio.create_task(self._renew(), name="renew keys")

    async def close(self) -> None:
        """Stops renewing."""
        tasks = [task for task in (self._renewing, self._fetching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def holds(self, key_id: str) -> bool:
        """Tells whether the key with this id is here, without asking anyone."""
        return key_id in self._keys

    async def find(self, key_id: str) -> VerificationKey | None:
        """Returns the key with this id; asks for the keys again when it is unknown, but not for every such id.

        Raises:
            Unavailable: No keys were ever got, or the key is unknown and nobody answers whether it is new.
        """
        key = self._keys.get(key_id)
        if key is None and (self._fetching is not None or time.monotonic() >= self._next_fetch):
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._refresh()
            except TimeoutError:  # it may be a new key: nothing can be said of it yet
                raise self._not_here() from None
            key = self._keys.get(key_id)
        if not self._keys:
            raise self._not_here()
        return key

    def _not_here(self) -> Unavailable:
        return Unavailable(
            "the keys that tokens are verified with are not here yet",
            dependency=self._name,
            retry_after_seconds=_RETRY_SECONDS,
        )

    async def _renew(self) -> None:
        while True:
            await self._refresh()
            # Replicas that were started together must not ask together for ever.
            pause = self._refresh_seconds * random.uniform(0.8, 1.0)  # noqa: S311 - nothing secret hangs on it
            await asyncio.sleep(pause if self._state is State.OK else _RETRY_SECONDS)

    async def _refresh(self) -> None:
        """Fetches once, however many wait for it."""
        if self._fetching is None:
            # In a context of its own: the fetch is nobody's call, so no caller's deadline, token or trace goes with it.
            self._fetching = asyncio.create_task(self._fetch_once(), context=contextvars.Context())
        # Shielded, because a caller who gives up must not end the fetch that others wait for.
        await asyncio.shield(self._fetching)

    async def _fetch_once(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_TIMEOUT_SECONDS):
                published = await self._fetch()
            self._adopt(_read(published))
            self._state = State.OK
        except Exception as error:  # noqa: BLE001 - whatever it is, the keys we have go on working
            self._state = State.DEGRADED if self._keys else State.DOWN
            _log.warning("keys_not_fetched", error=repr(error), keys=len(self._keys))
        finally:
            self._next_fetch = time.monotonic() + (self._refetch_seconds if self._keys else _RETRY_SECONDS)
            self._fetching = None

    def _adopt(self, keys: dict[str, VerificationKey]) -> None:
        withdrawn = [key_id for key_id, old in self._keys.items() if key_id not in keys or keys[key_id] != old]
        self._keys = keys
        if withdrawn:
            _log.info("keys_withdrawn", key_ids=withdrawn)
            self._on_withdrawal()


def fetch_over_http(url: str) -> FetchJwks:
    """Returns what fetches the key set of another issuer, whose certificate must be good if the address is https."""

    def get() -> Mapping[str, Any]:
        request = urllib.request.Request(url, headers={"accept": "application/json"})  # noqa: S310 -- see TrustedIssuer
        with urllib.request.urlopen(request, timeout=_FETCH_TIMEOUT_SECONDS) as response:  # noqa: S310
            published = json.loads(response.read(_MOST_BYTES))
        if not isinstance(published, dict):
            raise ValueError("the answer is no key set")  # noqa: TRY004 -- what was read is wrong, not what was given
        return published

    async def fetch() -> Mapping[str, Any]:
        return await asyncio.to_thread(get)

    return fetch


def _read(published: Mapping[str, Any]) -> dict[str, VerificationKey]:
    """Returns the usable keys of a key set by their ids.

    Raises:
        ValueError: It holds none, so that it must be a mistake.
    """
    keys: dict[str, VerificationKey] = {}
    for entry in published.get("keys", ()):
        key = _verification_key(entry)
        if key is None:
            _log.warning("key_skipped", key_id=entry.get("kid"), type=entry.get("kty"))
        else:
            keys[str(entry["kid"])] = key
    if not keys:
        raise ValueError("the key set holds no usable key")
    return keys


def _verification_key(entry: Mapping[str, Any]) -> VerificationKey | None:
    """Returns the key of one entry, or None for what no token of ours is signed with."""
    algorithm = _ALGORITHM_OF_KEY.get((entry.get("kty", ""), entry.get("crv")))
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    # A set with a private half in it is not what we asked for, and its key is no secret any more.
    if not entry.get("kid") or entry.get("use", "sig") != "sig" or "d" in entry:
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm)
        too_short = key.Algorithm.check_key_length(key.key)
    except jwt.PyJWTError:
        return None
    return None if too_short else VerificationKey(algorithm, dict(entry), key)
