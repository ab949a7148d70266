"""The edge offers what the protos declare, and nothing that anyone has to list."""

import re

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from buf.validate import validate_pb2
from gateway.contract import Rest, load

API = load()


def test_knows_every_service_of_the_mesh() -> None:
    assert {"airquality", "auth", "gateway", "geocoder", "spatial-index", "trajectory"} <= set(API.owners)


def test_leaves_out_the_health_that_every_service_has() -> None:
    assert "geomesh.health.v1.HealthService" not in API.services


def test_knows_what_may_be_repeated_and_what_streams() -> None:
    rpcs = {rpc.path: rpc for rpc in API.rpcs}
    assert rpcs["/geomesh.spatial_index.v1.SpatialIndexService/EncodeLocation"].repeatable
    assert not rpcs["/geomesh.auth.v1.AuthService/Login"].repeatable
    assert rpcs["/geomesh.airquality.v1.AirQualityService/IngestReadings"].streaming
    assert not rpcs["/geomesh.auth.v1.AuthService/Login"].streaming


def test_every_unary_rpc_has_a_rest_route() -> None:
    assert [rpc.path for rpc in API.rpcs if not rpc.streaming and not rpc.rest] == []


def test_no_two_rpcs_have_the_same_rest_route() -> None:
    routes = [(rest.verb, rest.template) for rpc in API.rpcs for rest in rpc.rest]
    assert len(routes) == len(set(routes))


def test_every_rule_over_several_fields_begins_with_the_one_that_a_refusal_names() -> None:
    messages = [message for file in API.files for message in file.message_types_by_name.values()]
    rules = [
        (message, rule.id.partition(".")[0])
        for message in messages
        for rule in message.GetOptions().Extensions[validate_pb2.message].cel
    ]
    assert rules
    assert [(message.full_name, field) for message, field in rules if field not in message.fields_by_name] == []


def test_the_descriptor_set_is_whole_and_holds_the_details_of_errors() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(API.descriptor_set()).file
    pool = descriptor_pool.DescriptorPool()
    for file in files:
        pool.Add(file)  # refuses a file before those that it imports
    for name in ("google.rpc.Status", "google.rpc.ErrorInfo", "geomesh.gateway.v1.GatewayService"):
        assert pool.FindFileContainingSymbol(name).name


@pytest.mark.parametrize(
    ("template", "path", "matches"),
    [
        ("/v1/cells/{cell}:disk", "/v1/cells/8928308280fffff:disk?k=1", True),
        ("/v1/cells/{cell}:disk", "/v1/cells/8928308280fffff", False),
        ("/v1/entities/{entity_id}", "/v1/entities/bus%207", True),
        ("/v1/entities/{entity_id}", "/v1/entities/a/b", False),
        ("/v1/entities/{entity_id}", "/v1/entities/a:summary", False),
        ("/.well-known/jwks.json", "/.well-known/jwksXjson", False),
    ],
)
def test_a_template_covers_its_paths(template: str, path: str, matches: bool) -> None:  # noqa: FBT001 -- a parameter of the test
    assert bool(re.fullmatch(Rest("GET", template).pattern, path)) is matches


def test_groups_paths_by_the_methods_they_take() -> None:
    groups = API.verbs()
    assert any(re.fullmatch(pattern, "/healthz") for pattern in groups["GET"])
    paths = [pattern for patterns in groups.values() for pattern in patterns]
    assert len(paths) == len(set(paths))
