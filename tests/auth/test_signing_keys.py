"""Signing keys: their ids, their seal, and how the service keeps them."""

import asyncio
import hashlib
import json
from base64 import urlsafe_b64encode

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from auth.access_tokens import AccessTokens
from auth.accounts import Account
from auth.settings import Settings
from auth.signing_keys import KeySeal, PublishedKeys, SealError, SigningKey, StoredKey, generate
from meshkit.errors import Unavailable
from tests.auth.conftest import KEY_ENCRYPTION_KEY

OLD = "an-old-key-encryption-key-0123456789"


def seal(*secrets: str) -> KeySeal:
    return KeySeal(Settings(key_encryption_key=" ".join(secrets)).derive_keys("signing keys"))


class Store:
    """Keeps keys in memory, and may be away."""

    def __init__(self, *keys: StoredKey) -> None:
        self.keys = list(keys)
        self.is_away = False
        self.asked = 0

    async def find_published(self) -> list[StoredKey]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("the database does not answer")
        return self.keys


def stored(key: SigningKey, secret: str = KEY_ENCRYPTION_KEY, *, signs: bool = True) -> StoredKey:
    return StoredKey(key.public, seal(secret).close(key), signs)


def published(store: Store, keep_seconds: float = 0.0) -> PublishedKeys:
    return PublishedKeys(store, seal(KEY_ENCRYPTION_KEY), keep_seconds=keep_seconds)


def test_the_id_of_a_key_is_its_thumbprint() -> None:
    key = generate()
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.private.public_key()))
    members = f'{{"crv":"P-256","kty":"EC","x":"{jwk["x"]}","y":"{jwk["y"]}"}}'
    assert key.public.key_id == urlsafe_b64encode(hashlib.sha256(members.encode()).digest()).decode().rstrip("=")
    assert (key.public.x, key.public.y) == (jwk["x"], jwk["y"])


def test_coordinates_keep_their_leading_zeros() -> None:
    # One key in 128 has one; RFC 7518, section 6.2.1.2, wants all 32 bytes.
    assert {len(coordinate) for _ in range(300) for coordinate in (generate().public.x, generate().public.y)} == {43}


def test_a_sealed_key_opens_to_the_same_key() -> None:
    key = generate()
    assert seal(KEY_ENCRYPTION_KEY).open(seal(KEY_ENCRYPTION_KEY).close(key)).public == key.public


def test_a_sealed_key_shows_nothing_of_itself() -> None:
    key = generate()
    number = key.private.private_numbers().private_value.to_bytes(32, "big")
    encoded = key.private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    sealed = seal(KEY_ENCRYPTION_KEY).close(key)
    assert number not in sealed
    assert encoded not in sealed
    assert seal(KEY_ENCRYPTION_KEY).close(key) != sealed


def test_another_key_encryption_key_does_not_open_it() -> None:
    with pytest.raises(SealError):
        seal(OLD).open(seal(KEY_ENCRYPTION_KEY).close(generate()))


def test_a_changed_seal_does_not_open() -> None:
    sealed = bytearray(seal(KEY_ENCRYPTION_KEY).close(generate()))
    sealed[40] ^= 1
    with pytest.raises(SealError):
        seal(KEY_ENCRYPTION_KEY).open(bytes(sealed))


def test_an_old_key_encryption_key_still_opens_behind_the_new_one() -> None:
    key = generate()
    sealed = seal(OLD).close(key)
    both = seal(KEY_ENCRYPTION_KEY, OLD)
    assert both.open(sealed).public == key.public
    assert not both.is_current(sealed)
    assert both.is_current(both.close(key))


@pytest.mark.parametrize("secret", ["", " ", "short", "a" * 64, f"{KEY_ENCRYPTION_KEY} short", "ab" * 32])
def test_refuses_a_useless_key_encryption_key_without_repeating_it(secret: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(key_encryption_key=secret)
    assert "at least 32 random characters" in str(refused.value)
    assert "short" not in str(refused.value.errors()[0]["msg"])


def test_keys_for_different_purposes_differ() -> None:
    settings = Settings(key_encryption_key=KEY_ENCRYPTION_KEY)
    assert settings.derive_keys("signing keys") != settings.derive_keys("refresh tokens")
    assert settings.derive_keys("signing keys") == settings.derive_keys("signing keys")


async def test_signs_with_the_newest_key_and_publishes_all() -> None:
    soon, newest, oldest = generate(), generate(), generate()
    keys = published(Store(stored(newest), stored(oldest), stored(soon, signs=False)))
    assert (await keys.signing()).public == newest.public
    assert await keys.published() == (newest.public, oldest.public, soon.public)


async def test_a_key_that_does_not_sign_yet_signs_nothing() -> None:
    keys = published(Store(stored(generate(), signs=False)))
    assert len(await keys.published()) == 1
    with pytest.raises(Unavailable):
        await keys.signing()


async def test_takes_up_a_new_key_without_a_restart() -> None:
    old, new = generate(), generate()
    store = Store(stored(old))
    keys = published(store)
    assert (await keys.signing()).public == old.public
    store.keys.insert(0, stored(new))
    assert (await keys.signing()).public == new.public
    assert await keys.published() == (new.public, old.public)


async def test_reads_the_keys_once_for_many_callers() -> None:
    store = Store(stored(generate()))
    keys = published(store, keep_seconds=60.0)
    await asyncio.gather(*(keys.signing() for _ in range(50)), *(keys.published() for _ in range(50)))
    assert store.asked == 1


async def test_goes_on_with_its_keys_while_the_database_is_away() -> None:
    key = generate()
    store = Store(stored(key))
    keys = published(store)
    await keys.signing()
    store.is_away = True
    assert (await keys.signing()).public == key.public
    assert await keys.published() == (key.public,)


async def test_is_unavailable_before_it_has_seen_the_database() -> None:
    store = Store(stored(generate()))
    store.is_away = True
    keys = published(store)
    for ask in (keys.signing, keys.published):
        with pytest.raises(Unavailable):
            await ask()
    store.is_away = False
    await keys.signing()


async def test_publishes_but_does_not_sign_with_a_key_that_it_cannot_open() -> None:
    key = generate()
    keys = published(Store(stored(key, OLD)))
    assert await keys.published() == (key.public,)
    with pytest.raises(Unavailable):
        await keys.signing()


def test_an_access_token_is_what_rfc_9068_says() -> None:
    key = generate()
    account = Account("8a5f", "acme", ("user", "premium"), "premium")
    token = AccessTokens("https://issuer.test", "geomesh", 900, clock=lambda: 1_000_000.7).issue(account, key)
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "typ": "at+jwt", "kid": key.public.key_id}
    claims = jwt.decode(token, key.private.public_key(), ["ES256"], options={"verify_exp": False}, audience="geomesh")
    assert claims.pop("jti")
    assert claims == {
        "iss": "https://issuer.test",
        "aud": "geomesh",
        "sub": "8a5f",
        "client_id": "geomesh",
        "iat": 1_000_000.7,
        "exp": 1_000_900,
        "tenant": "acme",
        "roles": ["user", "premium"],
        "plan": "premium",
        "scope": "read:public_data read:own_data write:own_data read:tenant_data",
    }
