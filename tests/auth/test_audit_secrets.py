"""No secret that goes through any flow is ever found in the audit log, nor in the clear anywhere else in the database."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import pyotp
from google.protobuf.message import Message

from auth.delivery import Kind
from geomesh.auth.v1 import account_pb2, admin_pb2, auth_pb2
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start
from tests.auth.programs import bearer
from tests.auth.test_admin import CHIEF, ROOT, people
from tests.auth.test_refusals import counted

CHANGED = "a violet ladder under water"
RESET = "nine quiet lamps behind a wall"
NEWCOMER = "newcomer@else.example"
WRONG = "a wrong guess of a password"


def secrets_in(message: Message) -> Iterator[str]:
    """Yields what a message holds in fields that are marked as secret, and in those of its parts."""
    for field, value in message.ListFields():
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                yield from secrets_in(each)
            elif field.GetOptions().debug_redact:
                yield each if isinstance(each, str) else each.decode()


class Eavesdropper:
    """Makes calls, and remembers the secrets that went either way."""

    def __init__(self) -> None:
        self.heard: set[str] = set()

    async def __call__(self, method: Any, request: Message, token: str = "") -> Any:
        self.heard.update(secrets_in(request))
        try:
            reply = await method(request, metadata=bearer(token) if token else ())
        except grpc.aio.AioRpcError:
            return None
        self.heard.update(secrets_in(reply))
        return reply


async def sign_in(call: Eavesdropper, auth: Auth, email: str, password: str, code: str = "") -> Any:
    return await call(auth.stub.Login, auth_pb2.LoginRequest(email=email, password=password, code=code))


async def of_accounts(call: Eavesdropper, auth: Auth) -> None:
    await call(auth.account.SignUp, account_pb2.SignUpRequest(email=NEWCOMER))
    token = (await auth.mails())[-1].token
    complete = account_pb2.CompleteSignUpRequest(sign_up_token=token, password=PASSWORD)
    assert await call(auth.account.CompleteSignUp, complete)
    assert await sign_in(call, auth, NEWCOMER, WRONG) is None
    tokens = await sign_in(call, auth, NEWCOMER, PASSWORD)
    change = account_pb2.ChangePasswordRequest(old_password=PASSWORD, new_password=CHANGED)
    assert await call(auth.account.ChangePassword, change, tokens.access_token)
    await call(auth.account.RequestPasswordReset, account_pb2.RequestPasswordResetRequest(email=NEWCOMER))
    token = next(each.token for each in await auth.mails() if each.kind is Kind.PASSWORD_RESET)
    reset = account_pb2.ResetPasswordRequest(reset_token=token, new_password=RESET)
    assert await call(auth.account.ResetPassword, reset)
    me = (await sign_in(call, auth, NEWCOMER, RESET)).access_token
    totp = await call(auth.account.EnrolTotp, account_pb2.EnrolTotpRequest(password=RESET), me)
    code = pyotp.TOTP(totp.secret).at(int(time.time()))
    confirmed = await call(auth.account.ConfirmTotp, account_pb2.ConfirmTotpRequest(totp_code=code), me)
    first, second, *_ = confirmed.recovery_codes
    assert await sign_in(call, auth, NEWCOMER, RESET, first)
    assert await sign_in(call, auth, NEWCOMER, RESET, "ZZZZ-ZZZZ-ZZZZ-ZZZZ") is None
    assert await call(auth.account.DisableTotp, account_pb2.DisableTotpRequest(password=RESET, code=second), me)


async def of_programs(call: Eavesdropper, auth: Auth) -> None:
    tokens = await sign_in(call, auth, CHIEF, PASSWORD)
    tokens = await call(auth.stub.RefreshToken, auth_pb2.RefreshTokenRequest(refresh_token=tokens.refresh_token))
    me = tokens.access_token
    made = await call(
        auth.stub.CreateApiKey, auth_pb2.CreateApiKeyRequest(display_name="mast", scopes=["read:own_data"]), me
    )
    exchange = auth_pb2.ExchangeTokenRequest(grant_type="api_key", api_key=made.key)
    by_key = await call(auth.stub.ExchangeToken, exchange)
    another = auth_pb2.CreateApiKeyRequest(display_name="another", scopes=["read:own_data"])
    assert await call(auth.stub.CreateApiKey, another, by_key.access_token) is None
    program = await call(
        auth.stub.CreateServiceAccount, auth_pb2.CreateServiceAccountRequest(display_name="import"), me
    )
    name = program.service_account.service_account_id
    for secret, good in ((program.client_secret, True), ("geomesh_secret_not-the-right-one", False)):
        exchange = auth_pb2.ExchangeTokenRequest(grant_type="client_credentials", client_id=name, client_secret=secret)
        assert (await call(auth.stub.ExchangeToken, exchange) is not None) is good
    again = auth_pb2.ResetServiceAccountSecretRequest(service_account_id=name)
    assert await call(auth.stub.ResetServiceAccountSecret, again, me)
    await call(auth.stub.RevokeApiKey, auth_pb2.RevokeApiKeyRequest(api_key_id=made.api_key.api_key_id), me)
    await call(auth.stub.IntrospectToken, auth_pb2.IntrospectTokenRequest(token=tokens.refresh_token), me)
    await call(auth.stub.Logout, auth_pb2.LogoutRequest(refresh_token=tokens.refresh_token))


async def of_administrators(call: Eavesdropper, auth: Auth) -> None:
    root = (await sign_in(call, auth, ROOT, PASSWORD)).access_token
    user = admin_pb2.CreateUserRequest(email="made@acme.example", password=CHANGED, tenant_id="acme")
    assert await call(auth.admin.CreateUser, user, root)
    await call(auth.admin.InviteUser, admin_pb2.InviteUserRequest(email="in@acme.example", tenant_id="acme"), root)
    await call(auth.admin.SuspendTenant, admin_pb2.SuspendTenantRequest(tenant_id="other"), root)
    assert await sign_in(call, auth, EMAIL.replace("acme", "other"), PASSWORD) is None


async def everything_kept(auth: Auth) -> str:
    """Returns every row of every table of the service as text, bytes in hexadecimal digits."""
    async with auth.owner() as owner:
        names = await owner.fetch(
            "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'auth'::regnamespace AND relkind = 'r'"
        )
        query = "SELECT coalesce(string_agg(t::text, ' '), '') FROM {} t"
        return " ".join([await owner.fetchval(query.format(name)) for (name,) in names])


async def test_no_secret_of_any_flow_is_kept(start: Start) -> None:
    async with start(sign_up="open") as auth:
        await people(auth)
        call = Eavesdropper()
        await of_accounts(call, auth)
        await of_programs(call, auth)
        await of_administrators(call, auth)
        call.heard.update(message.token for message in await auth.mails() if message.token)
        await counted(auth, 1)
        kept = await everything_kept(auth)
        log = await auth.arrange("SELECT string_agg(e::text, ' ') FROM auth.audit_events e")
    assert len(call.heard) > 30
    assert EMAIL in kept
    assert {PASSWORD, CHANGED, RESET, WRONG} <= call.heard
    assert all(event in log for event in ("sign_in", "api_key.created", "service_account.created", "password.reset"))
    for text in (log, kept):
        assert [each for each in call.heard if each in text or each.encode().hex() in text] == []
