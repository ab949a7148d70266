"""docs/adding-a-service.md is true: a service made of nothing but what stands there works behind the edge."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp

from geomesh_local.stack import CHECKOUT
from tests.running_mesh import Mesh

PAGE = CHECKOUT / "docs" / "adding-a-service.md"
BLOCK = re.compile(r"`([\w/.-]+/[\w.-]+)`[^`]*?(?:`[^`]*`[^`]*?)?:\n\n```(?:proto|python|toml)\n(.*?)```", re.DOTALL)
RPC = "/geomesh.antipode.v1.AntipodeService/GetAntipode"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def written() -> dict[str, str]:
    """Returns the files of the page by their paths."""
    return dict(BLOCK.findall(PAGE.read_text()))


def test_the_page_holds_a_whole_service_in_at_most_eighty_lines() -> None:
    files = written()
    assert len(files) == 5
    assert sum(bool(line.strip()) for text in files.values() for line in text.splitlines()) + 1 <= 80


@pytest.mark.parametrize("service", ["geocoder", "spatial-index", "trajectory", "airquality", "auth"])
def test_the_wiring_of_each_service_fits_forty_lines(service: str) -> None:
    path = CHECKOUT / "services" / service / service.replace("-", "_") / "__main__.py"
    assert len(path.read_text().splitlines()) <= 40


class Collector:
    """An OpenTelemetry collector that keeps the names and trace ids of the spans it gets."""

    def __init__(self) -> None:
        self.spans: set[tuple[str, str]] = set()
        self.server = grpc.server(ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(
            self._export,
            request_deserializer=otlp.ExportTraceServiceRequest.FromString,
            response_serializer=otlp.ExportTraceServiceResponse.SerializeToString,
        )
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _export(self, request: otlp.ExportTraceServiceRequest, context: object) -> otlp.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans |= {(span.name, span.trace_id.hex()) for span in scope.spans}
        return otlp.ExportTraceServiceResponse()


@dataclass
class Sixth:
    """The running service, behind an edge of its own."""

    process: subprocess.Popen[bytes]
    url: str
    port: int
    metrics_port: int
    collector: Collector


@pytest.fixture
def sixth(mesh: Mesh, tmp_path: Path) -> Iterator[Sixth]:
    if mesh.stack.tls:
        pytest.skip(
            "the page tells of a mesh without TLS; the stack makes certificates for the services that it starts"
        )
    for folder in ("protos", "runtime", "gateway"):
        shutil.copytree(CHECKOUT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in written().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "services/antipode/antipode/__init__.py").touch()
    subprocess.run([sys.executable, tmp_path / "protos/generate.py"], check=True)

    base, collector = mesh.stack.ports.base + 300, Collector()
    port, metrics_port, edge_port, admin_port = base, base + 1, base + 2, base + 3
    packages = [tmp_path / "runtime", tmp_path / "services/antipode", tmp_path / "gateway"]
    environment = dict(os.environ) | {
        "PYTHONPATH": os.pathsep.join(map(str, packages)),
        "GEOMESH_ANTIPODE_PORT": str(port),
        "GEOMESH_ANTIPODE_METRICS_PORT": str(metrics_port),
        "GEOMESH_ANTIPODE_AUTH_ADDRESS": mesh.stack.grpc_address("auth"),
        "GEOMESH_ANTIPODE_OTLP_ENDPOINT": f"127.0.0.1:{collector.port}",
        "GEOMESH_ANTIPODE_DRAIN_NOTICE_SECONDS": "0",
        **mesh.stack.edge_environment(),
        "GEOMESH_EDGE_PORT": str(edge_port),
        "GEOMESH_EDGE_ADMIN_PORT": str(admin_port),
        "GEOMESH_GATEWAY_ANTIPODE_ADDRESS": f"127.0.0.1:{port}",
    }
    configuration = tmp_path / "envoy.yaml"
    subprocess.run([sys.executable, "-m", "gateway.render", "--out", configuration], env=environment, check=True)
    envoy_command: list[str | Path] = [
        *(Path(sys.executable).with_name("envoy"), "-c", configuration, "--disable-hot-restart"),
        *("--concurrency", "1", "--log-level", "warning"),
    ]
    service = subprocess.Popen([sys.executable, "-m", "antipode"], env=environment)
    envoy = subprocess.Popen(envoy_command)
    try:
        sixth = Sixth(service, f"http://127.0.0.1:{edge_port}", port, metrics_port, collector)
        wait_until_served(sixth)
        yield sixth
    finally:
        for process in (service, envoy):
            process.terminate()
            process.wait(timeout=30)
        collector.server.stop(None)


def wait_until_served(sixth: Sixth) -> None:
    """Returns once the edge finds the service healthy and refuses a stranger."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{sixth.url}/v1/antipode?location.lat=1&location.lng=1", timeout=5).status_code == 401:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail("the sixth service did not come up behind its edge")


def test_it_is_reached_over_rest_with_everything_that_a_service_gets(mesh: Mesh, sixth: Sixth) -> None:
    def ask(lat: float, role: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {mesh.token(role)}", "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
        query = {"location.lat": str(lat), "location.lng": "2.35"}
        return httpx.get(f"{sixth.url}/v1/antipode", params=query, headers=headers, timeout=10)

    good = ask(48.86, "user")
    assert good.status_code == 200, good.text
    assert good.json()["location"] == {"lat": -48.86, "lng": pytest.approx(-177.65)}

    assert ask(48.86, "public").status_code == 403

    bad = ask(91, "user")
    assert bad.status_code == 400
    assert bad.json()["details"][0]["fieldViolations"][0]["field"] == "location.lat"

    metrics = httpx.get(f"http://127.0.0.1:{sixth.metrics_port}/metrics", timeout=10).text
    for code in ("OK", "PERMISSION_DENIED", "INVALID_ARGUMENT", "UNAUTHENTICATED"):
        assert f'geomesh_requests_total{{code="{code}",method="{RPC}"}}' in metrics

    with grpc.insecure_channel(f"127.0.0.1:{sixth.port}") as channel:
        request = health_pb2.HealthCheckRequest(service="geomesh.antipode.v1.AntipodeService")
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # missing from the stubs
        answer = check(request, timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING

    sixth.process.terminate()
    assert sixth.process.wait(timeout=30) == 0
    assert (RPC.removeprefix("/"), TRACE_ID) in sixth.collector.spans
