"""Puts the service together, for `__main__` and for the tests."""

from dataclasses import dataclass

from argon2 import Parameters

from auth.access_tokens import AccessTokens
from auth.account_repository import AccountRepository
from auth.account_servicer import AccountServicer
from auth.admin_repository import AdminRepository, AuditRepository
from auth.admin_servicer import AdminServicer
from auth.audit_reading import AuditLog
from auth.delivery import Console, Delivery, Webhook
from auth.outbox import Outbox
from auth.password_changes import PasswordChanges
from auth.passwords import Passwords, cost
from auth.refresh_tokens import RefreshTokens
from auth.refusal_repository import RefusalRepository
from auth.refusals import RefusalEntries
from auth.repository import SessionRepository, SigningKeyRepository
from auth.second_factor import SecondFactor
from auth.second_factors import SecondFactors
from auth.sessions import Sessions
from auth.settings import Settings
from auth.sign_ups import SignUps
from auth.signing_in import Doorkeeper, SignIn
from auth.signing_keys import KeySeal, PublishedKeys
from auth.tenant_limits import TenantLimits
from auth.tenants import Tenants
from auth.throttle import Rate, Throttle
from auth.tokens import make_tokens
from auth.users import Users
from meshkit.health import Dependency
from meshkit.postgres import Postgres
from meshkit.redis import Redis
from meshkit.tokens import TokenVerifier


@dataclass(frozen=True, slots=True)
class Wired:
    """What `meshkit.serve` takes, and the outbox for whoever waits for it."""

    servicers: list[object]
    dependencies: list[Dependency]
    verifier: TokenVerifier
    outbox: Outbox


def wire(settings: Settings, *, parameters: Parameters | None = None, delivery: Delivery | None = None) -> Wired:
    """Returns the whole service, started nowhere yet.

    Args:
        settings: The settings.
        parameters: The cost of a password's hash; None takes that of the settings.
        delivery: What brings messages; None takes that of the settings.
    """
    database, redis = Postgres(settings), Redis(settings)
    accounts, admin = AccountRepository(database), AdminRepository(database)
    passwords = Passwords(
        threads=settings.password_threads,
        waiting=settings.password_waiting,
        parameters=parameters or cost(settings.password_memory_kib, settings.password_passes, settings.password_lanes),
    )
    keys = PublishedKeys(
        SigningKeyRepository(database),
        KeySeal(settings.derive_keys("signing keys")),
        keep_seconds=settings.signing_keys_seconds,
    )
    access_tokens = AccessTokens(settings.token_issuer, settings.token_audience, settings.access_token_seconds)
    sessions = Sessions(
        SessionRepository(database),
        access_tokens,
        RefreshTokens(settings.derive_keys("refresh tokens")),
        keys,
        refresh_token_seconds=settings.refresh_token_seconds,
        refresh_grace_seconds=settings.refresh_grace_seconds,
    )
    by_account = Rate(settings.sign_in_account_burst, settings.sign_in_account_seconds)
    by_address = Rate(settings.sign_in_address_burst, settings.sign_in_address_seconds)
    attempts = Throttle(redis, "sign-in", account=by_account, address=by_address)
    messages = Throttle(
        redis, "message", account=Rate(settings.message_burst, settings.message_seconds), address=by_address
    )
    second_factor = SecondFactor(settings.derive_keys("totp secrets"))
    doorkeeper = Doorkeeper(accounts, passwords, second_factor)
    outbox = Outbox(delivery or _delivery(settings))
    sign_ups = SignUps(
        accounts, passwords, outbox, messages, mode=settings.sign_up, token_seconds=settings.sign_up_token_seconds
    )
    password_changes = PasswordChanges(
        accounts,
        passwords,
        doorkeeper,
        outbox,
        attempts=attempts,
        requests=messages,
        token_seconds=settings.password_reset_token_seconds,
    )
    limits = TenantLimits(redis, admin, every_seconds=settings.tenant_limits_seconds)
    sign_in = SignIn(accounts, doorkeeper, attempts, sessions)
    tokens = make_tokens(settings, database, keys, sign_in, sessions, access_tokens)
    servicers: list[object] = [
        tokens.servicer,
        AccountServicer(sign_ups, password_changes, SecondFactors(accounts, second_factor, doorkeeper, attempts)),
        AdminServicer(Tenants(admin), Users(admin, passwords, sign_ups), AuditLog(AuditRepository(database)), limits),
    ]
    refusals = RefusalEntries(RefusalRepository(database), redis)
    dependencies: list[Dependency] = [database, redis, outbox, limits, tokens.publisher, refusals]
    return Wired(servicers, dependencies, tokens.verifier, outbox)


def _delivery(settings: Settings) -> Delivery:
    if settings.delivery == "webhook":
        return Webhook(settings.delivery_webhook_url, settings.delivery_webhook_secret.get_secret_value())
    return Console()
