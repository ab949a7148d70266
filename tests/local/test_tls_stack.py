"""What `GEOMESH_TLS=1 make up` promises, on a mesh of its own without the data."""

import asyncio
import os
import ssl
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import httpx
import psutil
import pytest
import pytest_asyncio

from geomesh.auth.v1 import auth_pb2, auth_pb2_grpc
from geomesh.spatial_index.v1 import spatial_index_pb2, spatial_index_pb2_grpc
from geomesh_local import plan
from geomesh_local.accounts import remove_data_folder
from geomesh_local.build import build_of
from geomesh_local.errors import StackError
from geomesh_local.ports import GATEWAY, LIMITS, SERVICES, PortPlan
from geomesh_local.readiness import health_of_all
from geomesh_local.stack import Stack
from geomesh_local.stores import end_strays
from geomesh_local.up import up
from meshkit.tls import Certificates
from meshkit.tls import channel as connect

pytestmark = [pytest.mark.mesh, pytest.mark.asyncio(loop_scope="module")]

WITHOUT_DATA = {"geocoder-0": "gazetteer down", "gateway": "geocoder degraded"}
UNREACHABLE = "1000000"
ENCODE = "/v1/cells:encode?lat=37.7752702151959&lng=-122.418307270836&resolution=9"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A mesh that was started with TLS."""
    run = tmp_path_factory.mktemp("tls") / "run"
    # Tests call as fast as they can; those of the limits have an edge of their own.
    environment = dict(os.environ) | {
        "GEOMESH_LIMITS_PUBLIC_REQUESTS_PER_HOUR": UNREACHABLE,
        "GEOMESH_EDGE_ADDRESS_CALLS_PER_SECOND": UNREACHABLE,
    }
    stack = Stack(run, PortPlan.free(1, start=28_000), durable=False, environment=environment, tls=True)
    try:
        await up(stack, data=False)
        yield stack
    finally:
        stack.supervisor.shut_down()
        end_strays(stack)
        remove_data_folder(run / "postgres")


@pytest_asyncio.fixture(loop_scope="module")
async def client(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client that believes the stack's authority."""
    async with httpx.AsyncClient(base_url=stack.edge_url, verify=stack.edge_trust, timeout=10) as client:
        yield client


def pids(stack: Stack) -> dict[str, int]:
    return {name: state.pid for name, state in stack.supervisor.states().items()}


async def test_every_program_is_well(stack: Stack, client: httpx.AsyncClient) -> None:
    await as_well_as_without_data(stack)
    assert (await client.get("/healthz")).status_code == 200


async def test_signing_in_and_calling_go_through_tls(stack: Stack, client: httpx.AsyncClient) -> None:
    login = {"email": "admin@localhost", "password": stack.administrator_password_path.read_text().strip()}
    token = (await client.post("/v1/auth/login", json=login)).raise_for_status().json()["accessToken"]
    # With a token, so that the service must have got the keys from the auth service, by mutual TLS too.
    answer = await client.get(ENCODE, headers={"authorization": f"Bearer {token}"})
    assert answer.json()["cells"][0]["cell"] == "8928308280fffff"


async def test_calls_are_counted_over_mutual_tls(client: httpx.AsyncClient) -> None:
    assert (await client.get(ENCODE)).headers["x-ratelimit-limit"] == UNREACHABLE


@pytest.mark.parametrize("service", [*SERVICES, GATEWAY, LIMITS])
async def test_no_service_answers_who_proves_nothing(stack: Stack, service: str) -> None:
    target = f"127.0.0.1:{stack.ports.grpc(service, 0)}"
    trusting = grpc.ssl_channel_credentials(stack.certificate("ca").read_bytes())
    named = [("grpc.ssl_target_name_override", f"{service}.geomesh.internal")]
    for channel in (
        grpc.aio.insecure_channel(target),
        grpc.aio.secure_channel(target, trusting, options=named),
    ):
        async with channel:
            stub: auth_pb2_grpc.AuthServiceAsyncStub = auth_pb2_grpc.AuthServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.GetJwks(auth_pb2.GetJwksRequest(), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_service_is_only_called_by_those_that_need_it(stack: Stack) -> None:
    async def encode(caller: str) -> None:
        certificates = Certificates(
            stack.certificate(caller), stack.certificate(f"{caller}-key"), stack.certificate("ca")
        )
        target = f"127.0.0.1:{stack.ports.grpc('spatial-index', 0)}"
        async with connect(target, "spatial-index", certificates, options=[]) as channel:
            stub: spatial_index_pb2_grpc.SpatialIndexServiceAsyncStub
            stub = spatial_index_pb2_grpc.SpatialIndexServiceStub(channel)
            await stub.EncodeLocation(spatial_index_pb2.EncodeLocationRequest(lat=1, lng=2, resolution=[9]), timeout=5)

    await encode("operator")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await encode("trajectory")
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_the_edge_answers_no_plaintext(stack: Stack) -> None:
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{stack.ports.edge}/healthz")


async def test_metrics_and_admin_are_on_loopback_and_keys_are_for_their_owner_alone(stack: Stack) -> None:
    listening = {
        each.laddr
        for pid in pids(stack).values()
        for each in psutil.Process(pid).net_connections()
        if each.status == psutil.CONN_LISTEN
    }
    metrics = {stack.ports.metrics(service, 0) for service in (*SERVICES, GATEWAY)}
    private = {(address.ip, address.port) for address in listening if address.port in {*metrics, stack.ports.admin}}
    assert private == {("127.0.0.1", port) for port in (*metrics, stack.ports.admin)}
    keys = list(stack.certificates.glob("*-key.pem"))
    assert len(keys) == len(SERVICES) + 6
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


async def test_renewing_every_certificate_fails_no_request_and_restarts_nothing(
    stack: Stack, client: httpx.AsyncClient
) -> None:
    before, stop, answered = pids(stack), asyncio.Event(), 0

    async def call_all_the_time() -> None:
        nonlocal answered
        while not stop.is_set():
            # A connection of its own each time, which is shown whatever certificate is the newest.
            async with httpx.AsyncClient(base_url=stack.edge_url, verify=stack.edge_trust, timeout=10) as fresh:
                assert (await fresh.get(ENCODE)).status_code == 200
                answer = await client.get(ENCODE)
                assert (answer.status_code, answer.headers["x-ratelimit-limit"]) == (200, UNREACHABLE)
            answered += 1

    calling = asyncio.create_task(call_all_the_time())
    ports = {stack.ports.edge: "public", stack.ports.counting(0): LIMITS}
    ports |= {stack.ports.grpc(each, 0): each for each in (*SERVICES, GATEWAY, LIMITS)}
    assert len(stack.prepare_certificates(renew=True)) == len(SERVICES) + 5
    async with asyncio.timeout(20):
        for port, name in ports.items():
            while await shown(port) != stack.certificate(name).read_text():  # noqa: ASYNC110 -- nobody tells
                await asyncio.sleep(0.1)
        seen = answered
        while answered < seen + 20:  # noqa: ASYNC110 -- counted by another task
            await asyncio.sleep(0.1)
    stop.set()
    await calling
    await as_well_as_without_data(stack)
    assert pids(stack) == before


async def test_a_second_up_changes_nothing(stack: Stack) -> None:
    before = pids(stack), {path: path.read_bytes() for path in stack.certificates.iterdir()}
    await up(stack, data=False)
    assert (pids(stack), {path: path.read_bytes() for path in stack.certificates.iterdir()}) == before


async def test_the_plan_remembers_tls_and_where_the_certificates_are(stack: Stack) -> None:
    known = plan.running(stack.run)
    assert known is not None
    assert (known.tls, known.certificates, known.edge_url) == (True, stack.certificates, stack.edge_url)


@pytest.mark.parametrize("value", ["yes", "2", "true"])
async def test_only_one_and_zero_are_taken(stack: Stack, value: str) -> None:
    with pytest.raises(StackError, match="GEOMESH_TLS"):
        plan.asked_for(stack.run, {"GEOMESH_TLS": value})


async def test_turning_it_off_again_leaves_nothing_behind(stack: Stack) -> None:
    plain = replace(stack, tls=False)
    build_of.cache_clear()  # Envoy's configuration is another, which a program that runs once need not notice
    await up(plain, data=False)
    async with httpx.AsyncClient(base_url=plain.edge_url) as client:
        assert (await client.get("/healthz")).status_code == 200
    await as_well_as_without_data(plain)
    assert not list(plain.envoy_configuration.parent.glob("tls-*"))


async def as_well_as_without_data(stack: Stack) -> None:
    """Waits until nothing but the missing data keeps any program from being well."""
    unwell: dict[str, str] = {}
    deadline = time.monotonic() + 20
    while unwell != WITHOUT_DATA:
        assert time.monotonic() < deadline, unwell
        unwell = {name: each.detail for name, each in (await health_of_all(stack)).items() if each.state != "ok"}


async def shown(port: int) -> str:
    """Returns the certificate that whoever listens on the port shows to a new connection."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
