"""What the client does around calls, before a real edge whose service fails as the test says."""

import asyncio
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from geomesh.auth.v1 import auth_pb2
from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from geomesh.spatial_index.v1 import spatial_index_pb2
from geomesh_client import Client, DeadlineExceeded, Password, ResourceExhausted, Tls, Unavailable
from geomesh_client.calls import Around, interceptors
from meshkit import errors
from tests.gateway.running_edge import Behaviour, Edge, Obedient, running_edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

ASK = pb.GetStatusRequest()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def _edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    async with running_edge(tmp_path_factory.mktemp("edge")) as edge:
        yield edge


@pytest_asyncio.fixture(loop_scope="session")
async def edge(_edge: Edge) -> Edge:
    _edge.service.reset()
    return _edge


def failing(edge: Edge, times: int, error: errors.MeshError) -> Behaviour:
    async def behave() -> pb.GetStatusResponse:
        if edge.service.calls <= times:
            raise error
        return pb.GetStatusResponse()

    return behave


async def test_a_read_is_repeated_while_nobody_answers(edge: Edge) -> None:
    edge.service.behaviour = failing(edge, 2, errors.Unavailable("not yet", retry_after_seconds=0.01))
    async with Client(edge.url) as client:
        await client.gateway.GetStatus(ASK)
    assert edge.service.calls == 3


async def test_it_is_not_repeated_forever(edge: Edge) -> None:
    edge.service.behaviour = failing(edge, 1000, errors.Unavailable("never", retry_after_seconds=0.01))
    async with Client(edge.url, attempts=3) as client:
        with pytest.raises(Unavailable) as refused:
            await client.gateway.GetStatus(ASK)
    assert edge.service.calls == 3
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"


async def test_a_limit_is_waited_for_as_long_as_the_mesh_says(edge: Edge) -> None:
    limit = errors.ResourceExhausted(errors.Reason.RATE_LIMITED, "too many", retry_after_seconds=0.3)
    edge.service.behaviour = failing(edge, 1, limit)
    began = asyncio.get_running_loop().time()
    async with Client(edge.url) as client:
        await client.gateway.GetStatus(ASK)
    assert asyncio.get_running_loop().time() - began >= 0.3


async def test_a_wait_that_would_not_fit_is_not_begun(edge: Edge) -> None:
    limit = errors.ResourceExhausted(errors.Reason.RATE_LIMITED, "too many", retry_after_seconds=3600)
    edge.service.behaviour = failing(edge, 1, limit)
    async with asyncio.timeout(10), Client(edge.url) as client:
        with pytest.raises(ResourceExhausted) as refused:
            await client.gateway.GetStatus(ASK)
    assert refused.value.retry_after_seconds == 3600


async def test_what_may_not_happen_twice_is_sent_once(edge: Edge) -> None:
    # Nothing stands behind Login here: the edge answers UNAVAILABLE and asks for another try in a second.
    began = asyncio.get_running_loop().time()
    async with Client(edge.url) as client:
        with pytest.raises(Unavailable):
            await client.auth.Login(auth_pb2.LoginRequest(email="a@b.example", password="x"))
    assert asyncio.get_running_loop().time() - began < 1.0


async def test_the_time_holds_for_all_tries_together(edge: Edge) -> None:
    async def never() -> pb.GetStatusResponse:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    edge.service.behaviour = never
    async with asyncio.timeout(10), Client(edge.url, timeout_seconds=0.3) as client:
        with pytest.raises(DeadlineExceeded):
            await client.gateway.GetStatus(ASK)


async def test_the_time_goes_along(edge: Edge) -> None:
    async with Client(edge.url) as client:
        await client.gateway.GetStatus(ASK, timeout=3)
    assert edge.service.remaining_seconds is not None
    assert 2 < edge.service.remaining_seconds < 4  # gRPC rounds it up on its way


async def test_a_stream_that_fails_raises_an_error_of_ours(edge: Edge) -> None:
    async def nothing() -> AsyncIterator[spatial_index_pb2.ReportPositionsRequest]:
        yield spatial_index_pb2.ReportPositionsRequest()

    async with Client(edge.url) as client:
        with pytest.raises(Unavailable):
            await client.spatial_index.ReportPositions(nothing())


@asynccontextmanager
async def echoing(replies: int, *, then_fail: bool) -> AsyncIterator[grpc.aio.Channel]:
    """Yields a channel of the client's to a server of streams, which the protos do not have yet."""

    async def many(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> AsyncIterator[bytes]:
        for _ in range(replies):
            yield request
        if then_fail:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "stopping")

    async def one(requests: AsyncIterator[bytes], context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        return b"".join([request async for request in requests])

    async def both(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    handlers: dict[str, Any] = {
        "Many": grpc.unary_stream_rpc_method_handler(many),
        "One": grpc.stream_unary_rpc_method_handler(one),
        "Both": grpc.stream_stream_rpc_method_handler(both),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    around = Around({}, timeout_seconds=5, attempts=1)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", interceptors=interceptors(around)) as channel:
        yield channel
    await server.stop(None)


async def letters() -> AsyncIterator[bytes]:
    for letter in (b"a", b"b", b"c"):
        yield letter


async def test_streams_go_both_ways() -> None:
    async with echoing(3, then_fail=False) as channel:
        many: Any = channel.unary_stream("/test.Echo/Many")
        assert [reply async for reply in many(b"x")] == [b"x"] * 3
        one: Any = channel.stream_unary("/test.Echo/One")
        assert await one(letters()) == b"abc"
        both: Any = channel.stream_stream("/test.Echo/Both")
        assert [reply async for reply in both(letters())] == [b"a", b"b", b"c"]


async def test_a_stream_of_replies_that_breaks_raises_an_error_of_ours() -> None:
    async with echoing(2, then_fail=True) as channel:
        many: Any = channel.unary_stream("/test.Echo/Many")
        got = []
        with pytest.raises(Unavailable, match="stopping"):
            async for reply in many(b"x"):
                got.append(reply)  # noqa: PERF401 -- what came before the error counts
        assert got == [b"x", b"x"]


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("geomesh.example", "url"),
        ("ftp://geomesh.example", "url"),
        ("https://user@geomesh.example", "url"),
        ("https://geomesh.example/v1", "url"),
        ("http://geomesh.example:99999", "url"),
        ("http://geomesh.example", "in the clear"),
        ("http://10.0.0.1:8080", "in the clear"),
    ],
)
async def test_refuses_a_url_that_it_cannot_or_must_not_use(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Client(url, Password("a@b.example", "secret"))


@pytest.mark.parametrize("url", ["http://localhost:8080", "http://127.0.0.1:8080", "http://[::1]:8080"])
async def test_this_machine_needs_no_tls(url: str) -> None:
    await Client(url, Password("a@b.example", "secret")).close()


async def test_a_password_is_not_shown_where_credentials_are() -> None:
    assert "secret" not in repr(Password("a@b.example", "secret"))


def authority(folder: Path, name: str) -> tuple[Path, tuple[bytes, bytes]]:
    """Writes the certificate of a server at 127.0.0.1, its own authority, and returns the file, and key and certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    file = folder / f"{name}.pem"
    file.write_bytes(pem)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return file, (private, pem)


@asynccontextmanager
async def serving(pair: tuple[bytes, bytes]) -> AsyncIterator[str]:
    server = grpc.aio.server()
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(Obedient(), server)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    await server.start()
    yield f"https://127.0.0.1:{port}"
    await server.stop(None)


async def test_speaks_tls_with_whom_the_authority_vouches_for(tmp_path: Path) -> None:
    certificate, pair = authority(tmp_path, "ours")
    async with serving(pair) as url, Client(url, tls=Tls(authority=certificate)) as client:
        await client.gateway.GetStatus(ASK)


async def test_speaks_with_nobody_else(tmp_path: Path) -> None:
    other, _ = authority(tmp_path, "other")
    async with serving(authority(tmp_path, "ours")[1]) as url:
        for tls in (Tls(authority=other), None):
            async with Client(url, tls=tls, attempts=1) as client:
                with pytest.raises(Unavailable):
                    await client.gateway.GetStatus(ASK, timeout=5)


async def test_a_certificate_without_its_key_is_refused(tmp_path: Path) -> None:
    certificate, _ = authority(tmp_path, "ours")
    with pytest.raises(ValueError, match="belong together"):
        Client("https://geomesh.example", tls=Tls(certificate=certificate))
