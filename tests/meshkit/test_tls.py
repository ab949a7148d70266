"""Mutual TLS on real sockets: who is taken, who is refused, and what happens when certificates are replaced."""

import asyncio
import datetime as dt
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import httpx
import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from geomesh.auth.v1 import auth_pb2
from meshkit.channels import Upstream
from meshkit.development_ca import Authority, Subject, issue, subjects
from meshkit.errors import PermissionDenied, Unavailable
from meshkit.serve import Ports, running
from meshkit.tls import EXPIRES, Certificates, mesh_name, server_credentials
from meshkit.tls import channel as connect
from tests.meshkit.conftest import Issuer, ProbeSettings
from tests.meshkit.servers import until

SERVICES = ("probe", "auth", "other")
Start = Callable[..., AbstractAsyncContextManager[Ports]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Certificates of three services, all by one authority."""
    issue(tmp_path / "certs", subjects(SERVICES))
    return tmp_path / "certs"


def paths(folder: Path, name: str) -> dict[str, Any]:
    """Returns the settings of whoever has the certificate."""
    return {
        "tls_certificate_path": folder / f"{name}.pem",
        "tls_key_path": folder / f"{name}-key.pem",
        "tls_ca_path": folder / "ca.pem",
    }


def certificates(folder: Path, name: str) -> Certificates:
    return Certificates(*paths(folder, name).values())


def write(folder: Path, name: str, pair: tuple[bytes, bytes], ca: bytes) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.pem").write_bytes(pair[0])
    (folder / f"{name}-key.pem").write_bytes(pair[1])
    (folder / "ca.pem").write_bytes(ca)


@pytest.fixture
async def auth_port(folder: Path) -> AsyncIterator[int]:
    """Publishes keys to whom an authority of the mesh signed, as the auth service does."""
    server = grpc.aio.server()
    publish = grpc.unary_unary_rpc_method_handler(
        Issuer().jwks,
        request_deserializer=auth_pb2.GetJwksRequest.FromString,
        response_serializer=auth_pb2.JsonWebKeySet.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("geomesh.auth.v1.AuthService", {"GetJwks": publish}),)
    )
    port = server.add_secure_port("127.0.0.1:0", server_credentials(certificates(folder, "auth")))
    await server.start()
    yield port
    await server.stop(0)


@pytest.fixture
def start(probe: ModuleType, messages: Any, auth_port: int, folder: Path) -> Start:
    """Starts a service with mutual TLS, as itself or with another's certificate."""

    class Probe(probe.ProbeServiceServicer):  # type: ignore[name-defined, misc]
        async def Open(self, request: Any, context: object) -> Any:
            return messages.ProbeResponse()

        async def Write(self, request: Any, context: object) -> Any:
            return messages.ProbeResponse()

        async def Watch(self, request: Any, context: object) -> AsyncIterator[Any]:
            yield messages.ProbeResponse()

        async def Upload(self, requests: Any, context: object) -> Any:
            return messages.ProbeResponse()

    @asynccontextmanager
    async def started(name: str = "probe", where: Path = folder, **settings: Any) -> AsyncIterator[Ports]:
        configured = ProbeSettings(
            port=0,
            metrics_port=0,
            drain_notice_seconds=0.0,
            auth_address=f"127.0.0.1:{auth_port}",
            **paths(where, name),
            **settings,
        )
        async with running(configured, servicers=[Probe()]) as ports:
            yield ports

    return started


@pytest.fixture
def ask(probe: ModuleType, messages: Any) -> Callable[[grpc.aio.Channel], Any]:
    """Calls the service once over the channel."""

    async def asked(channel: grpc.aio.Channel) -> Any:
        return await probe.ProbeServiceStub(channel).Open(messages.ProbeRequest(), timeout=5)

    return asked


async def refusal(call: Any) -> str:
    """Returns why gRPC never got as far as a call."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(caught.value.details())


async def test_services_of_one_mesh_talk_and_get_their_keys(start: Start, folder: Path, ask: Any) -> None:
    async with start() as ports:
        upstream = Upstream(f"127.0.0.1:{ports.grpc}", "probe", certificates=certificates(folder, "other"))
        await ask(upstream.channel)
        await upstream.close()


async def test_replicas_are_known_by_their_name_and_not_their_address(start: Start, folder: Path, ask: Any) -> None:
    async with start() as one, start() as two:
        target = f"ipv4:127.0.0.1:{one.grpc},127.0.0.1:{two.grpc}"
        async with connect(target, "probe", certificates(folder, "other"), options=[]) as channel:
            for _ in range(4):
                await ask(channel)


async def test_refuses_plaintext(start: Start, ask: Any) -> None:
    async with start() as ports, grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel:
        await refusal(ask(channel))


async def test_refuses_a_client_without_a_certificate(start: Start, folder: Path, ask: Any) -> None:
    credentials = grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())
    named = [("grpc.ssl_target_name_override", mesh_name("probe"))]
    async with (
        start() as ports,
        grpc.aio.secure_channel(f"127.0.0.1:{ports.grpc}", credentials, options=named) as channel,
    ):
        await refusal(ask(channel))


async def test_refuses_a_client_of_another_authority(start: Start, folder: Path, tmp_path: Path, ask: Any) -> None:
    stranger = tmp_path / "stranger"
    issue(stranger, subjects(["other"]))
    # It believes the right authority, so that only the server can refuse.
    shutil.copy(folder / "ca.pem", stranger / "ca.pem")
    async with (
        start() as ports,
        connect(f"127.0.0.1:{ports.grpc}", "probe", certificates(stranger, "other"), options=[]) as channel,
    ):
        await refusal(ask(channel))


@pytest.mark.parametrize("start_days", [-30, 30], ids=["expired", "not yet valid"])
async def test_refuses_a_client_whose_certificate_is_out_of_its_time(
    start: Start, folder: Path, tmp_path: Path, ask: Any, authority: Authority, start_days: int
) -> None:
    write(tmp_path / "late", "other", timed(authority, "other", start_days), authority.pem)
    write(tmp_path / "now", "probe", timed(authority, "probe", 0), authority.pem)
    async with start(where=tmp_path / "now") as ports:
        target = f"127.0.0.1:{ports.grpc}"
        async with connect(target, "probe", certificates(tmp_path / "late", "other"), options=[]) as channel:
            await refusal(ask(channel))
        # What is refused is the time and nothing else.
        write(tmp_path / "good", "other", timed(authority, "other", 0), authority.pem)
        async with connect(target, "probe", certificates(tmp_path / "good", "other"), options=[]) as channel:
            await ask(channel)


async def test_refuses_the_public_certificate_as_a_client(start: Start, folder: Path, ask: Any) -> None:
    async with (
        start() as ports,
        connect(f"127.0.0.1:{ports.grpc}", "probe", certificates(folder, "public"), options=[]) as channel,
    ):
        await refusal(ask(channel))


async def test_a_client_refuses_a_server_of_another_name(start: Start, folder: Path, ask: Any) -> None:
    async with (
        start("other") as ports,
        connect(f"127.0.0.1:{ports.grpc}", "probe", certificates(folder, "other"), options=[]) as channel,
    ):
        assert "Hostname Verification Check failed" in await refusal(ask(channel))


async def test_a_client_refuses_a_server_of_another_authority(
    start: Start, folder: Path, tmp_path: Path, ask: Any
) -> None:
    stranger = tmp_path / "stranger"
    issue(stranger, subjects(["probe"]))
    shutil.copy(folder / "ca.pem", stranger / "ca.pem")
    async with (
        start(where=stranger) as ports,
        connect(f"127.0.0.1:{ports.grpc}", "probe", certificates(folder, "other"), options=[]) as channel,
    ):
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal(ask(channel))


async def test_a_client_refuses_a_server_whose_certificate_expired(
    start: Start, tmp_path: Path, ask: Any, authority: Authority
) -> None:
    write(tmp_path / "late", "probe", timed(authority, "probe", -30), authority.pem)
    write(tmp_path / "now", "other", timed(authority, "other", 0), authority.pem)
    async with (
        start(where=tmp_path / "late") as ports,
        connect(f"127.0.0.1:{ports.grpc}", "probe", certificates(tmp_path / "now", "other"), options=[]) as channel,
    ):
        assert "CERTIFICATE_VERIFY_FAILED" in await refusal(ask(channel))


async def test_an_upstream_that_is_not_believed_is_unavailable(start: Start, folder: Path, ask: Any) -> None:
    async with start("other") as ports:
        upstream = Upstream(f"127.0.0.1:{ports.grpc}", "probe", certificates=certificates(folder, "other"))
        with pytest.raises(Unavailable):
            await ask(upstream.channel)
        await upstream.close()


async def test_only_the_peers_that_are_named_may_call(start: Start, folder: Path, ask: Any) -> None:
    async with start(tls_peers=["edge"]) as ports:
        target = f"127.0.0.1:{ports.grpc}"
        async with connect(target, "probe", certificates(folder, "edge"), options=[]) as channel:
            await ask(channel)
        stranger = Upstream(target, "probe", certificates=certificates(folder, "other"))
        with pytest.raises(PermissionDenied, match=r"not called by other\.geomesh\.internal"):
            await ask(stranger.channel)
        await stranger.close()


async def test_certificates_of_a_new_authority_take_over_without_a_restart_or_a_failed_call(
    start: Start, folder: Path, tmp_path: Path, ask: Any
) -> None:
    """The whole rotation: believe both, then show the new, then believe the new alone."""
    new = tmp_path / "new"
    issue(new, subjects(SERVICES))
    both = (folder / "ca.pem").read_bytes() + (new / "ca.pem").read_bytes()
    stop, calls = asyncio.Event(), 0

    async def call_all_the_time(target: str) -> None:
        nonlocal calls
        async with connect(target, "probe", certificates(folder, "other"), options=[]) as channel:
            while not stop.is_set():
                await ask(channel)
                calls += 1

    async def server_shows(authority: Path, target: str) -> bool:
        mine = tmp_path / "observer"
        shutil.copytree(new, mine, dirs_exist_ok=True)
        shutil.copy(authority / "ca.pem", mine / "ca.pem")
        try:
            async with connect(target, "probe", certificates(mine, "other"), options=[]) as channel:
                await ask(channel)
        except grpc.aio.AioRpcError:
            return False
        return True

    async with start() as ports:
        target = f"127.0.0.1:{ports.grpc}"
        calling = asyncio.create_task(call_all_the_time(target))
        assert not await server_shows(folder, target)  # the observer's own certificate is of the new authority
        (folder / "ca.pem").write_bytes(both)
        await until(lambda: server_shows(folder, target))  # now it is believed, and sees the old
        for name in ("probe", "other"):
            for file in (f"{name}-key.pem", f"{name}.pem"):
                shutil.copy(new / file, folder / file)
        await until(lambda: server_shows(new, target))
        (folder / "ca.pem").write_bytes((new / "ca.pem").read_bytes())
        before = calls
        await until(lambda: _more_than(lambda: calls, before + 10))
        stop.set()
        await calling


async def test_half_a_renewal_leaves_the_old_pair_in_use(folder: Path) -> None:
    pair = certificates(folder, "probe")
    before = pair.current()
    issue(folder, subjects(SERVICES), renew=True)
    whole = (folder / "probe.pem").read_bytes()
    (folder / "probe.pem").write_bytes(before.certificate)  # the key is new already
    with pytest.raises(AssertionError):
        await until(lambda: _more_than(lambda: int(pair.current() is not before), 0), seconds=1.5)
    (folder / "probe.pem").write_bytes(whole)
    await until(lambda: _more_than(lambda: int(pair.current() is not before), 0))
    assert pair.current().certificate == whole


async def test_the_metric_tells_when_the_certificate_expires(start: Start, folder: Path) -> None:
    async with start() as ports, httpx.AsyncClient() as client:
        metrics = (await client.get(f"http://127.0.0.1:{ports.metrics}/metrics")).text
    (line,) = [line for line in metrics.splitlines() if line.startswith("geomesh_certificate_expires")]
    days = (float(line.split()[1]) - dt.datetime.now(dt.UTC).timestamp()) / 86400
    assert 89 < days < 90
    EXPIRES.set(0)


async def test_the_metrics_port_stays_on_loopback_whatever_the_service_is_on(start: Start) -> None:
    async with start(host="0.0.0.0") as ports:  # noqa: S104 -- what a container sets
        listening = {
            (each.laddr.ip, each.laddr.port) for each in psutil.Process().net_connections() if each.status == "LISTEN"
        }
    assert ("127.0.0.1", ports.metrics) in listening
    assert ("0.0.0.0", ports.metrics) not in listening  # noqa: S104 -- as above


async def test_a_health_check_asks_with_the_settings_of_the_service_itself(start: Start, folder: Path) -> None:
    async def ended(**settings: Any) -> tuple[int | None, str]:
        environment = {f"GEOMESH_PROBE_{name}".upper(): str(value) for name, value in settings.items()}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "meshkit.probe", "probe"),
            env=os.environ | environment,
            stderr=subprocess.PIPE,
        )
        _, complaint = await process.communicate()
        return process.returncode, complaint.decode()

    async with start(tls_peers=["edge"]) as ports:
        assert await ended(port=ports.grpc, **paths(folder, "probe")) == (0, "")
        code, complaint = await ended(port=ports.grpc)
        assert code == 1
        assert complaint.startswith("probe: UNAVAILABLE")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"tls_key_path": None}, "set together"),
        ({"tls_ca_path": None}, "set together"),
        ({"tls_certificate_path": None, "tls_key_path": None, "tls_ca_path": None, "tls_peers": ["edge"]}, "TLS_PEERS"),
    ],
)
def test_half_of_the_settings_is_refused(folder: Path, change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        ProbeSettings(**(paths(folder, "probe") | change))


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("probe-key.pem", None, "No such file"),
        ("probe.pem", b"no certificate", "probe.pem: "),
        ("probe-key.pem", b"no key", "probe-key.pem: "),
        ("ca.pem", b"", "ca.pem: "),
        ("probe-key.pem", "other-key.pem", "is not the key of"),
    ],
)
def test_certificates_that_cannot_be_used_stop_the_start_with_the_file_named(
    folder: Path, file: str, content: bytes | str | None, complaint: str
) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content if isinstance(content, bytes) else (folder / content).read_bytes())
    with pytest.raises(SystemExit, match=complaint):
        Certificates.of(ProbeSettings(**paths(folder, "probe")))


def test_issuing_again_changes_nothing_and_keys_are_for_their_owner_alone(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert issue(folder, subjects(SERVICES)) == []
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    keys = [path for path in folder.iterdir() if path.name.endswith("-key.pem")]
    assert len(keys) == len(SERVICES) + 4  # the authority, the edge on both sides, the operator
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


@pytest.mark.parametrize(("days", "renewed"), [(29, True), (1, True), (31, False)])
def test_what_expires_within_a_month_is_issued_anew(folder: Path, days: int, renewed: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    probe = next(each for each in subjects(SERVICES) if each.name == "probe")
    write(folder, "probe", authority_of(folder).sign(probe, days=days), (folder / "ca.pem").read_bytes())
    assert issue(folder, subjects(SERVICES)) == (["probe"] if renewed else [])


def test_another_name_for_the_edge_makes_its_certificate_anew(folder: Path) -> None:
    wanted = subjects(SERVICES, ["mesh.example.org", "192.0.2.7"])
    assert issue(folder, wanted) == ["public"]
    assert issue(folder, wanted) == []


def test_a_new_authority_makes_every_certificate_anew(folder: Path) -> None:
    (folder / "ca.pem").unlink()
    assert set(issue(folder, subjects(SERVICES))) == {"ca", *SERVICES, "edge", "operator", "public"}


def test_a_damaged_authority_is_named_and_left_alone(folder: Path) -> None:
    (folder / "ca-key.pem").write_bytes(b"no key")
    with pytest.raises(ValueError, match=r"ca-key.pem is damaged"):
        issue(folder, subjects(SERVICES))
    assert (folder / "ca-key.pem").read_bytes() == b"no key"


def authority_of(folder: Path) -> Authority:
    key = load_pem_private_key((folder / "ca-key.pem").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Authority(x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes()), key)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new(dt.datetime.now(dt.UTC) - dt.timedelta(days=60))


def timed(authority: Authority, name: str, start_days: float) -> tuple[bytes, bytes]:
    """Returns a certificate that is valid for twenty days from that day on."""
    start = dt.datetime.now(dt.UTC) + dt.timedelta(days=start_days)
    return authority.sign(Subject(name, (mesh_name(name),)), days=20, now=start)


async def _more_than(value: Callable[[], int], least: int) -> bool:
    return value() > least
