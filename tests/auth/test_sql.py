"""What SQL means something by means nothing in any text that a caller sends: every text of every RPC is tried."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from geomesh.auth.v1 import account_pb2, admin_pb2, auth_pb2
from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start
from tests.auth.programs import bearer, create_key, create_service_account
from tests.auth.test_admin import ROOT, people

PAYLOADS = (
    "' OR '1'='1",
    "'; DROP TABLE auth.accounts; --",
    "x'||(SELECT pg_sleep(5))||'",
    "\\'; DELETE FROM auth.tenants; --",
    '"; $1 $$ $body$ %s {} /* */',
    "%_%",
    "\x00",
    "\\x00\\u0000",
    "\u202e\U0001f4a9'",
)
SERVICES = tuple(
    service for file in (auth_pb2, account_pb2, admin_pb2) for service in file.DESCRIPTOR.services_by_name.values()
)
FAULTS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
}


def texts(message: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yields the place of every text in a kind of message."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield (*path, field.name)
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type.file.package == "geomesh.auth.v1":
            yield from texts(field.message_type, (*path, field.name))


RPCS = [pytest.param(rpc, id=rpc.name) for service in SERVICES for rpc in service.methods if any(texts(rpc.input_type))]


def spellings(name: str) -> Iterator[str]:
    """Yields what to write into a field, also where only what looks like an address gets far."""
    yield from PAYLOADS
    if name == "email":
        yield from (f"{payload.replace(' ', '')}@acme.example" for payload in PAYLOADS)


def put(message: Message, path: tuple[str, ...], text: str) -> None:
    for name in path[:-1]:
        message = getattr(message, name)
    field = message.DESCRIPTOR.fields_by_name[path[-1]]
    if field.is_repeated:
        del getattr(message, path[-1])[:]
        getattr(message, path[-1]).append(text)
    else:
        setattr(message, path[-1], text)


def usual(rpc: MethodDescriptor, values: dict[str, Any]) -> Message:
    """Returns a request that is good in every field that `values` knows."""
    known = {field.name: values[field.name] for field in rpc.input_type.fields if field.name in values}
    return ParseDict(known, GetMessageClass(rpc.input_type)())


async def values_of(auth: Auth) -> dict[str, Any]:
    tokens = await auth.login()
    made = await create_key(auth, tokens.access_token)
    chief = (await auth.login("chief@acme.example")).access_token
    program = await create_service_account(auth, chief)
    sessions = await auth.stub.ListSessions(auth_pb2.ListSessionsRequest(), metadata=bearer(tokens.access_token))
    victim = await auth.arrange("SELECT account_id::text FROM auth.accounts WHERE email = 'someone@other.example'")
    return {
        "email": "nobody@acme.example",
        "password": PASSWORD,
        "old_password": PASSWORD,
        "new_password": PASSWORD,
        "refresh_token": tokens.refresh_token,
        "sign_up_token": "x" * 43,
        "reset_token": "x" * 43,
        "totp_code": "123456",
        "code": "123456",
        "token": tokens.access_token,
        "grant_type": "client_credentials",
        "client_id": program.service_account.service_account_id,
        "client_secret": program.client_secret,
        "api_key_id": made.api_key.api_key_id,
        "service_account_id": program.service_account.service_account_id,
        "session_id": sessions.sessions[0].session_id,
        "display_name": "a name",
        "scopes": ["read:own_data"],
        "role": "user",
        "roles": ["user"],
        "user_id": victim,
        "tenant_id": "other",
        "plan": "user",
    }


@pytest.mark.parametrize("rpc", RPCS)
async def test_sql_in_any_text_of_any_call_is_a_text(start: Start, rpc: MethodDescriptor) -> None:
    places = list(texts(rpc.input_type))
    async with start(sign_up="open", message_burst=10_000) as auth:
        await people(auth)
        values = await values_of(auth)
        stub = {"AuthService": auth.stub, "AccountService": auth.account, "AdminService": auth.admin}
        call = getattr(stub[rpc.containing_service.name], rpc.name)
        caller = bearer((await auth.login(ROOT)).access_token)
        tables = (
            "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'auth'::regnamespace"
        )
        before = await auth.arrange(tables)
        for place in places:
            for text in spellings(place[-1]):
                request = usual(rpc, values)
                put(request, place, text)
                try:
                    await call(request, metadata=caller, timeout=4)
                except grpc.aio.AioRpcError as error:
                    assert error.code() not in FAULTS, (place, text, error.details())  # noqa: PT017 - most are refused, some are not
        await auth.mails()
        assert auth.outbox is not None
        assert auth.outbox.state.name == "OK"
        assert await auth.arrange(tables) == before
        assert (
            await auth.arrange("SELECT count(*) FROM auth.tenants WHERE tenant_id IN ('acme', 'other', 'public')") == 3
        )
        await auth.login(EMAIL)
