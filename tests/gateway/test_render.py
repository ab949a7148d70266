"""Envoy's configuration follows from the protos and the environment."""

import base64
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.rpc import error_details_pb2, status_pb2

from gateway.contract import load
from gateway.local_replies import local_replies
from gateway.render import render, write
from gateway.settings import EdgeSettings, addresses
from geomesh.errors.v1 import errors_pb2
from meshkit.trusted_issuers import TrustedIssuer
from tests.gateway.error_form import CODES_BY_HTTP_STATUS

API = load()
REPLIES = local_replies(API)


def configuration(**settings: Any) -> dict[str, Any]:
    clusters = {owner: [("127.0.0.1", 18_000 + place)] for place, owner in enumerate(API.owners)}
    parsed: dict[str, Any] = yaml.safe_load(render(API, EdgeSettings(**settings), clusters, Path("/run/edge.binpb")))
    return parsed


@functools.cache
def routes() -> dict[str, dict[str, Any]]:
    listener = configuration()["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return {route.get("name", ""): route for route in manager["route_config"]["virtual_hosts"][0]["routes"]}


def test_every_rpc_has_a_route_to_its_own_service() -> None:
    by_name = routes()
    for rpc in API.rpcs:
        assert by_name[rpc.path.removeprefix("/")]["route"]["cluster"] == rpc.owner


def test_only_what_may_be_repeated_is_sent_again_after_a_reset() -> None:
    by_name = routes()
    for rpc in API.rpcs:
        policy = by_name[rpc.path.removeprefix("/")]["route"].get("retry_policy", {"retry_on": ""})
        assert ("reset" in policy["retry_on"].split(",")) is rpc.repeatable


def test_a_stream_has_no_end_but_silence() -> None:
    streams = [routes()[rpc.path.removeprefix("/")]["route"] for rpc in API.rpcs if rpc.streaming]
    assert streams
    assert {(route["timeout"], route["idle_timeout"]) for route in streams} == {("0s", "300.0s")}


def test_the_admin_listener_is_on_loopback_whatever_the_edge_is_on() -> None:
    listening = configuration(host="0.0.0.0")  # noqa: S104 -- what a container sets
    assert listening["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    assert listening["static_resources"]["listeners"][0]["address"]["socket_address"]["address"] == "0.0.0.0"  # noqa: S104 -- as above


def test_with_tls_every_service_is_known_by_its_own_name() -> None:
    path = Path("/run/certs/x.pem")
    names = (
        "tls_certificate_path",
        "tls_key_path",
        "mesh_tls_certificate_path",
        "mesh_tls_key_path",
        "mesh_tls_ca_path",
    )
    resources = configuration(**dict.fromkeys(names, path))["static_resources"]
    clusters = [cluster for cluster in resources["clusters"] if cluster["name"] != "keys"]  # within Envoy itself
    expected = {cluster["name"]: cluster["transport_socket"]["typed_config"] for cluster in clusters}
    assert set(expected) == set(API.owners)
    for service, socket in expected.items():
        matched = socket["common_tls_context"]["combined_validation_context"]["default_validation_context"]
        assert matched["match_typed_subject_alt_names"] == [
            {"san_type": "DNS", "matcher": {"exact": f"{service}.geomesh.internal"}}
        ]
    listeners = [each for each in resources["listeners"] if each["name"] != "keys"]
    assert all("transport_socket" in chain for each in listeners for chain in each["filter_chains"])


def test_the_keys_of_another_issuer_are_fetched_from_whoever_proves_to_be_it() -> None:
    issuer = TrustedIssuer(
        name="corp",
        issuer="https://id.example/realms/acme",
        audience="maps",
        jwks_url="https://keys.example/certs",
        tenants=("acme",),
    )
    clusters = configuration(trusted_issuers=[issuer])["static_resources"]["clusters"]
    (cluster,) = (each for each in clusters if each["name"] == "keys-of-corp")
    (place,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert place["endpoint"]["address"]["socket_address"] == {"address": "keys.example", "port_value": 443}
    socket = cluster["transport_socket"]["typed_config"]
    assert socket["sni"] == "keys.example"
    assert socket["common_tls_context"]["validation_context"] == {
        "trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"},
        "match_typed_subject_alt_names": [{"san_type": "DNS", "matcher": {"exact": "keys.example"}}],
    }


def test_without_tls_there_is_none() -> None:
    assert "TlsContext" not in json.dumps(configuration())


def test_files_of_certificates_go_when_tls_does(tmp_path: Path) -> None:
    given = tmp_path / "given.pem"
    given.touch()
    mesh: dict[str, Any] = {f"mesh_tls_{name}_path": given for name in ("certificate", "key", "ca")}
    write(tmp_path / "envoy.yaml", API, EdgeSettings(**mesh), {})
    assert {path.name for path in tmp_path.glob("tls-*")} == {"tls-mesh.yaml", "tls-authorities.yaml"}
    write(tmp_path / "envoy.yaml", API, EdgeSettings(), {})
    assert not list(tmp_path.glob("tls-*"))


def test_says_which_certificate_is_not_there_yet(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway.render", "--out", str(tmp_path / "envoy.yaml")]
    (tmp_path / "cert.pem").touch()
    missing = {
        "GEOMESH_EDGE_TLS_CERTIFICATE_PATH": str(tmp_path / "cert.pem"),
        "GEOMESH_EDGE_TLS_KEY_PATH": str(tmp_path / "key.pem"),
    }
    ended = subprocess.run(command, env=os.environ | missing, capture_output=True, text=True, check=True)
    assert ended.stderr.startswith(f"GEOMESH_EDGE_TLS_KEY_PATH: {tmp_path / 'key.pem'} is not there")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: f"{reply.reason}-{reply.http_status}")
def test_an_error_of_the_edge_is_one_that_the_contract_knows(reply: Any) -> None:
    assert f"ERROR_REASON_{reply.reason}" in dict(errors_pb2.ErrorReason.items())
    body = json.loads(reply.rest_body(named=True))
    assert body["code"] == reply.code
    if reply.http_status in CODES_BY_HTTP_STATUS:
        assert reply.code in CODES_BY_HTTP_STATUS[reply.http_status]
    headers = reply.grpc_headers()
    details = headers["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    assert (str(status.code), status.message) == (headers["grpc-status"], headers["grpc-message"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == reply.reason


def test_every_http_error_has_a_form() -> None:
    for status in range(400, 600):
        fitting = [each for each in REPLIES if each.statuses[0] <= status <= each.statuses[1]]
        assert any(not each.flags and not each.paths and False in each.named for each in fitting), status


@pytest.mark.parametrize(
    ("target", "replicas"),
    [
        ("geocoder:50051", [("geocoder", 50051)]),
        ("ipv4:127.0.0.1:18100,127.0.0.1:18101", [("127.0.0.1", 18100), ("127.0.0.1", 18101)]),
        ("dns:///geocoder.geomesh.svc:50051", [("geocoder.geomesh.svc", 50051)]),
        ("[::1]:50051", [("::1", 50051)]),
    ],
)
def test_reads_where_a_service_is(
    monkeypatch: pytest.MonkeyPatch, target: str, replicas: list[tuple[str, int]]
) -> None:
    monkeypatch.setenv("GEOMESH_GATEWAY_GEOCODER_ADDRESS", target)
    assert addresses(["geocoder"]) == {"geocoder": replicas}


def test_a_service_is_at_its_name_unless_set() -> None:
    assert addresses(["spatial-index", "gateway"]) == {
        "spatial-index": [("spatial-index", 50051)],
        "gateway": [("gateway", 50051)],
    }


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GEOMESH_EDGE_PORT", "http"),
        ("GEOMESH_EDGE_PORT", "70000"),
        ("GEOMESH_EDGE_TLS_KEY_PATH", "key.pem"),
        ("GEOMESH_EDGE_MESH_TLS_CA_PATH", "ca.pem"),
        ("GEOMESH_GATEWAY_GEOCODER_ADDRESS", "geocoder"),
        ("GEOMESH_GATEWAY_SPATIAL_INDEX_ADDRESS", "host:port"),
        ("GEOMESH_EDGE_OTLP_ENDPOINT", "collector"),
        ("GEOMESH_EDGE_STRICT_TRANSPORT_SECONDS", "600"),
        ("GEOMESH_EDGE_TRUSTED_ISSUERS", '[{"name": "corp"}]'),
    ],
)
def test_says_in_one_line_which_setting_is_wrong(tmp_path: Path, variable: str, value: str) -> None:
    command = [sys.executable, "-m", "gateway.render", "--out", str(tmp_path / "envoy.yaml")]
    ended = subprocess.run(command, env=os.environ | {variable: value}, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert len(ended.stderr.splitlines()) == 1
    assert variable in ended.stderr
