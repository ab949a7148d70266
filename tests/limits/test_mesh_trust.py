"""Who may ask the limits service: Envoy alone, which proves that it is the edge. Whoever may ask can use up anybody's limit."""

import asyncio
import contextlib
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway.limits.listener import SERVICE, Listener
from gateway.limits.settings import Settings
from meshkit.development_ca import Authority, Subject, issue, subjects
from meshkit.tls import Certificates, mesh_name
from meshkit.tls import channel as connect
from tests.ports import free_port

METHOD = f"/{SERVICE}/ShouldRateLimit"


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    folder = tmp_path / "certs"
    issue(folder, subjects(["limits", "geocoder"]))
    return folder


def settings(certs: Path, port: int, name: str = "limits") -> Settings:
    return Settings(
        counting_port=port,
        tls_certificate_path=certs / f"{name}.pem",
        tls_key_path=certs / f"{name}-key.pem",
        tls_ca_path=certs / "ca.pem",
        tls_peers=["edge"],
    )


def echoed(request: bytes, reply: Callable[[bytes], None]) -> None:
    reply(request)


@pytest.fixture
async def address(certs: Path) -> AsyncIterator[str]:
    """Where a listener with TLS is that answers with what it was asked."""
    port = free_port()
    listener = Listener(settings(certs, port), echoed)
    await listener.start()
    yield f"127.0.0.1:{port}"
    await listener.close()


def certificates(folder: Path, name: str) -> Certificates:
    return Certificates(folder / f"{name}.pem", folder / f"{name}-key.pem", folder / "ca.pem")


async def asked(channel: grpc.aio.Channel) -> bytes:
    async with channel:
        call: Any = channel.unary_unary(METHOD)
        answer: bytes = await call(b"question", timeout=5)
        return answer


async def refusal(channel: grpc.aio.Channel) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked(channel)
    return caught.value


async def test_the_edge_is_answered(address: str, certs: Path) -> None:
    assert await asked(connect(address, "limits", certificates(certs, "edge"), options=[])) == b"question"


async def test_another_process_of_the_mesh_is_refused_by_name(address: str, certs: Path) -> None:
    error = await refusal(connect(address, "limits", certificates(certs, "geocoder"), options=[]))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "limits is not asked by geocoder.geomesh.internal"


def plaintext(address: str, _certs: Path, _other: Path) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address)


def no_certificate(address: str, certs: Path, _other: Path) -> grpc.aio.Channel:
    believing = grpc.ssl_channel_credentials((certs / "ca.pem").read_bytes())
    return grpc.aio.secure_channel(address, believing, options=[("grpc.ssl_target_name_override", mesh_name("limits"))])


def another_authority(address: str, certs: Path, other: Path) -> grpc.aio.Channel:
    issue(other, subjects(["limits"]))
    (other / "ca.pem").write_bytes((certs / "ca.pem").read_bytes())
    return connect(address, "limits", certificates(other, "edge"), options=[])


def another_name_expected(address: str, certs: Path, _other: Path) -> grpc.aio.Channel:
    """The client's half: it does not ask whoever is not the limits service."""
    return connect(address, "geocoder", certificates(certs, "edge"), options=[])


@pytest.mark.parametrize("channel", [plaintext, no_certificate, another_authority, another_name_expected])
async def test_a_stranger_gets_no_connection(
    channel: Callable[[str, Path, Path], grpc.aio.Channel], address: str, certs: Path, tmp_path: Path
) -> None:
    error = await refusal(channel(address, certs, tmp_path / "other"))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_an_edge_whose_certificate_expired_gets_no_connection(tmp_path: Path) -> None:
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    authority = Authority.new(start)
    for name, days in (("limits", 90.0), ("edge", 20.0)):
        certificate, key = authority.sign(Subject(name, (mesh_name(name),)), days=days, now=start)
        (tmp_path / f"{name}.pem").write_bytes(certificate)
        (tmp_path / f"{name}-key.pem").write_bytes(key)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    port = free_port()
    listener = Listener(settings(tmp_path, port), echoed)
    await listener.start()
    try:
        error = await refusal(connect(f"127.0.0.1:{port}", "limits", certificates(tmp_path, "edge"), options=[]))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await listener.close()


async def shown(address: str, certs: Path) -> str:
    """Returns the serial number of the certificate that is shown to the edge."""
    context = ssl.create_default_context(cafile=certs / "ca.pem")
    context.load_cert_chain(certs / "edge.pem", certs / "edge-key.pem")
    host, port = address.split(":")
    _, writer = await asyncio.open_connection(host, int(port), ssl=context, server_hostname=mesh_name("limits"))
    serial: str = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()
    return serial


async def test_a_renewed_certificate_is_shown_without_a_restart(address: str, certs: Path) -> None:
    before = await shown(address, certs)
    issue(certs, subjects(["limits", "geocoder"]), renew=True)
    async with asyncio.timeout(10):
        while await shown(address, certs) == before:  # noqa: ASYNC110 -- asked, not told
            await asyncio.sleep(0.1)
    assert await asked(connect(address, "limits", certificates(certs, "edge"), options=[])) == b"question"


async def test_half_of_a_new_pair_changes_nothing(address: str, certs: Path, tmp_path: Path) -> None:
    before = await shown(address, certs)
    issue(tmp_path / "other", subjects(["limits"]))
    (certs / "limits-key.pem").write_bytes((tmp_path / "other" / "limits-key.pem").read_bytes())
    await asyncio.sleep(1.2)  # longer than until the files are looked at again
    assert await shown(address, certs) == before
