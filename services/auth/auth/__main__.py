"""Runs the auth service: `python -m auth`."""

from auth.access_tokens import AccessTokens
from auth.passwords import Passwords
from auth.refresh_tokens import RefreshTokens
from auth.repository import AccountRepository, SessionRepository, SigningKeyRepository
from auth.servicer import AuthServicer
from auth.sessions import Sessions
from auth.settings import Settings
from auth.signing_keys import KeySeal, PublishedKeys
from meshkit.postgres import Postgres
from meshkit.serve import run, serve


async def main() -> None:
    """Wires the service together."""
    settings = Settings.load()
    database = Postgres(settings)
    keys = PublishedKeys(
        SigningKeyRepository(database),
        KeySeal(settings.derive_keys("signing keys")),
        keep_seconds=settings.signing_keys_seconds,
    )
    sessions = Sessions(
        AccountRepository(database),
        SessionRepository(database),
        Passwords(threads=settings.password_threads, waiting=settings.password_waiting),
        AccessTokens(settings.token_issuer, settings.token_audience, settings.access_token_seconds),
        RefreshTokens(settings.derive_keys("refresh tokens")),
        keys,
        refresh_token_seconds=settings.refresh_token_seconds,
        refresh_grace_seconds=settings.refresh_grace_seconds,
    )
    await serve(settings, servicers=[AuthServicer(sessions, keys)], dependencies=[database])


if __name__ == "__main__":
    run(main)
