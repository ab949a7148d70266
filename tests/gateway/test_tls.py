"""TLS at the edge and behind it, by a real Envoy: who is served, who is refused, and how certificates are replaced."""

import asyncio
import datetime as dt
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from cryptography import x509

from geomesh.gateway.v1 import gateway_pb2 as pb
from geomesh.gateway.v1 import gateway_pb2_grpc
from meshkit.development_ca import Authority, Subject, issue, subjects
from meshkit.tls import mesh_name
from tests.gateway.running_edge import Edge, running_edge

pytestmark = pytest.mark.asyncio(loop_scope="session")

MESH = subjects(["gateway"])


def of_service(folder: Path, name: str = "gateway") -> dict[str, Any]:
    """Returns the settings of a service with the certificate."""
    return {
        "tls_certificate_path": folder / f"{name}.pem",
        "tls_key_path": folder / f"{name}-key.pem",
        "tls_ca_path": folder / "ca.pem",
    }


def of_edge(folder: Path, name: str = "edge") -> dict[str, Any]:
    """Returns the settings of an Envoy that shows the certificate to the services."""
    return {f"mesh_{key}": path for key, path in of_service(folder, name).items()}


def of_listener(folder: Path) -> dict[str, Any]:
    return {"tls_certificate_path": folder / "public.pem", "tls_key_path": folder / "public-key.pem"}


def believing(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "ca.pem")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of the mesh."""
    folder = tmp_path_factory.mktemp("certs")
    issue(folder, MESH)
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def edge(certs: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    """An edge with TLS on both sides."""
    async with running_edge(
        tmp_path_factory.mktemp("edge"), behind=of_service(certs), **of_listener(certs), **of_edge(certs)
    ) as running:
        yield running


async def test_rest_is_served_over_tls(edge: Edge, certs: Path) -> None:
    async with httpx.AsyncClient(base_url=edge.url, verify=believing(certs)) as client:
        answer = await client.get("/healthz")
        assert answer.status_code == 200
        assert (await client.get("/livez")).json() == {"status": "alive"}


async def test_grpc_is_served_over_tls(edge: Edge, certs: Path) -> None:
    credentials = grpc.ssl_channel_credentials((certs / "ca.pem").read_bytes())
    async with grpc.aio.secure_channel(f"localhost:{edge.port}", credentials) as channel:
        stub: gateway_pb2_grpc.GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(channel)
        await stub.GetStatus(pb.GetStatusRequest(), timeout=5)


async def test_the_edge_refuses_plaintext(edge: Edge) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{edge.port}/livez")
    async with grpc.aio.insecure_channel(edge.target) as channel:
        stub: gateway_pb2_grpc.GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetStatus(pb.GetStatusRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_refuses_an_edge_of_another_authority(edge: Edge, tmp_path: Path) -> None:
    issue(tmp_path, MESH)
    async with httpx.AsyncClient(verify=believing(tmp_path)) as client:
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            await client.get(f"{edge.url}/livez")


async def test_a_client_refuses_an_edge_of_another_name(edge: Edge, certs: Path) -> None:
    with (
        socket.create_connection(("127.0.0.1", edge.port)) as raw,
        pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"),
    ):
        believing(certs).wrap_socket(raw, server_hostname="geomesh.example.org")


async def test_tls_alone_is_demanded_where_that_is_set(certs: Path, tmp_path: Path) -> None:
    async with (
        running_edge(tmp_path, **of_listener(certs), strict_transport_seconds=600) as edge,
        httpx.AsyncClient(base_url=edge.url, verify=believing(certs)) as client,
    ):
        for path in ("/healthz", "/livez", "/nothing", "/v1/%2e%2e%2fx"):
            demanded = (await client.get(path)).headers["strict-transport-security"]
            assert demanded == "max-age=600; includeSubDomains"


async def test_tls_is_not_demanded_unless_it_is_set(edge: Edge, certs: Path) -> None:
    async with httpx.AsyncClient(base_url=edge.url, verify=believing(certs)) as client:
        assert "strict-transport-security" not in (await client.get("/livez")).headers


async def test_the_admin_listener_stays_on_loopback_and_apart(edge: Edge) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{edge.admin_url}/ready")).is_success
    assert edge.admin_url.startswith("http://127.0.0.1:")


async def test_a_public_certificate_is_replaced_without_a_restart(certs: Path, tmp_path: Path) -> None:
    mine = shutil.copytree(certs, tmp_path / "mine")
    async with running_edge(tmp_path, behind=of_service(mine), **of_listener(mine), **of_edge(mine)) as edge:
        before = await shown(edge)
        issue(mine, MESH, renew=True)
        renewed = x509.load_pem_x509_certificate((mine / "public.pem").read_bytes()).serial_number
        assert renewed != before
        await until(lambda: _is(shown(edge), renewed))
        async with httpx.AsyncClient(verify=believing(mine)) as client:
            assert (await client.get(f"{edge.url}/healthz")).status_code == 200


@pytest.fixture(scope="module")
def old_authority() -> Authority:
    """An authority that is old enough to have signed what is expired now."""
    return Authority.new(dt.datetime.now(dt.UTC) - dt.timedelta(days=60))


Prepare = Callable[[Path, Path, Authority], tuple[dict[str, Any], dict[str, Any]]]
"""Takes the mesh's certificates, an empty folder and an old authority; returns what the service and Envoy are told."""


def plaintext(certs: Path, _empty: Path, _old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    return {}, of_edge(certs)


def another_authority(certs: Path, empty: Path, _old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    return of_service(stranger(certs, empty)), of_edge(certs)


def another_name(certs: Path, empty: Path, _old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    shutil.copytree(certs, empty)
    issue(empty, subjects(["geocoder"]))
    return of_service(empty, "geocoder"), of_edge(certs)


def expired(_certs: Path, empty: Path, old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    empty.mkdir()
    sign(empty, "gateway", old, days=20)
    sign(empty, "edge", old, days=90)
    return of_service(empty), of_edge(empty)


@pytest.mark.parametrize(
    ("prepare", "counter"),
    [
        (plaintext, "connection_error"),
        (another_authority, "fail_verify_error"),
        (another_name, "fail_verify_san"),
        (expired, "fail_verify_error"),
    ],
)
async def test_the_edge_refuses_a_service(
    prepare: Prepare, counter: str, certs: Path, tmp_path: Path, old_authority: Authority
) -> None:
    service, envoy = prepare(certs, tmp_path / "theirs", old_authority)
    async with running_edge(tmp_path, behind=service, **envoy) as edge, httpx.AsyncClient() as client:
        assert (await client.get(f"{edge.url}/healthz")).status_code == 503
        await until(lambda: _is(refused_by(edge, client, counter), expected=True))
        assert edge.service.calls == 0


def edge_without_a_certificate(certs: Path, _empty: Path, _old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    return of_service(certs), {}


def edge_of_another_authority(certs: Path, empty: Path, _old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    return of_service(certs), of_edge(stranger(certs, empty))


def edge_whose_certificate_expired(_certs: Path, empty: Path, old: Authority) -> tuple[dict[str, Any], dict[str, Any]]:
    empty.mkdir()
    sign(empty, "gateway", old, days=90)
    sign(empty, "edge", old, days=20)
    return of_service(empty), of_edge(empty)


def edge_with_the_public_certificate(
    certs: Path, _empty: Path, _old: Authority
) -> tuple[dict[str, Any], dict[str, Any]]:
    return of_service(certs), of_edge(certs, "public")


@pytest.mark.parametrize(
    "prepare",
    [
        edge_without_a_certificate,
        edge_of_another_authority,
        edge_whose_certificate_expired,
        edge_with_the_public_certificate,
    ],
)
async def test_a_service_refuses_the_edge(
    prepare: Prepare, certs: Path, tmp_path: Path, old_authority: Authority
) -> None:
    service, envoy = prepare(certs, tmp_path / "theirs", old_authority)
    async with running_edge(tmp_path, behind=service, **envoy) as edge, httpx.AsyncClient() as client:
        answer = await client.get(f"{edge.url}/healthz")
        assert answer.status_code == 503
        assert answer.json()["details"][0]["reason"] == "DEPENDENCY_UNAVAILABLE"
        assert edge.service.calls == 0


async def test_a_service_that_is_not_called_by_the_edge_says_so(certs: Path, tmp_path: Path) -> None:
    behind = of_service(certs) | {"tls_peers": ["gateway"]}
    async with running_edge(tmp_path, behind=behind, **of_edge(certs)) as edge, httpx.AsyncClient() as client:
        answer = await client.get(f"{edge.url}/healthz")
    assert answer.status_code == 403
    assert "not called by edge.geomesh.internal" in answer.json()["message"]


async def test_an_edge_that_was_refused_is_taken_once_its_certificate_is_replaced(certs: Path, tmp_path: Path) -> None:
    mine = stranger(certs, tmp_path / "mine")
    async with (
        running_edge(tmp_path, behind=of_service(certs), **of_edge(mine)) as edge,
        httpx.AsyncClient() as client,
    ):
        assert (await client.get(f"{edge.url}/healthz")).status_code == 503
        for name in ("edge-key.pem", "edge.pem"):  # moved to their place, as a renewal does it
            shutil.copy(certs / name, tmp_path / name)
            (tmp_path / name).replace(mine / name)
        await until(lambda: _is(_status(client, f"{edge.url}/healthz"), 200))


def stranger(certs: Path, folder: Path) -> Path:
    """Makes certificates of an authority that nobody believes; their bearer believes the right one."""
    issue(folder, MESH)
    shutil.copy(certs / "ca.pem", folder / "ca.pem")
    return folder


def sign(folder: Path, name: str, authority: Authority, *, days: float) -> None:
    """Writes a certificate that is valid for some days from thirty days ago on."""
    start = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    certificate, key = authority.sign(Subject(name, (mesh_name(name),)), days=days, now=start)
    (folder / f"{name}.pem").write_bytes(certificate)
    (folder / f"{name}-key.pem").write_bytes(key)
    (folder / "ca.pem").write_bytes(authority.pem)


async def shown(edge: Edge) -> int:
    """Returns the serial number of the certificate that a new connection is shown."""
    pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", edge.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


async def refused_by(edge: Edge, client: httpx.AsyncClient, counter: str) -> bool:
    """Tells whether Envoy counted such a failure towards the gateway's process."""
    statistics = (await client.get(f"{edge.admin_url}/stats", params={"filter": r"^cluster\.gateway\.ssl"})).text
    found = re.search(rf"^cluster\.gateway\.ssl\.{counter}: (\d+)$", statistics, flags=re.MULTILINE)
    return found is not None and int(found[1]) > 0


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 -- Envoy tells nobody
            await asyncio.sleep(0.05)


async def _is(value: Awaitable[Any], expected: Any) -> bool:
    return bool(await value == expected)


async def _status(client: httpx.AsyncClient, url: str) -> int:
    return (await client.get(url)).status_code
