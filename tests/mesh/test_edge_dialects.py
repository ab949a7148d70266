"""The same RPCs over REST, gRPC and gRPC-Web, on one port."""

import struct
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from gateway.contract import load
from geomesh.airquality.v1 import airquality_pb2, airquality_pb2_grpc
from geomesh.spatial_index.v1 import spatial_index_pb2, spatial_index_pb2_grpc
from geomesh_local.ports import LIMITS
from tests.gateway.error_form import error_of
from tests.running_mesh import Mesh

HERE = {"lat": 37.7752702151959, "lng": -122.418307270836}


async def test_rest_and_grpc_give_the_same_answer(client: httpx.AsyncClient, channel: grpc.aio.Channel) -> None:
    over_rest = (await client.get("/v1/cells:encode", params=HERE | {"resolution": [5, 9]})).json()
    stub: spatial_index_pb2_grpc.SpatialIndexServiceAsyncStub = spatial_index_pb2_grpc.SpatialIndexServiceStub(channel)
    request = spatial_index_pb2.EncodeLocationRequest(lat=HERE["lat"], lng=HERE["lng"], resolution=[5, 9])
    over_grpc = await stub.EncodeLocation(request)
    assert [cell["cell"] for cell in over_rest["cells"]] == [cell.cell for cell in over_grpc.cells]
    assert over_rest["cells"][1]["cell"] == "8928308280fffff"


async def test_grpc_web_gives_the_same_answer(client: httpx.AsyncClient) -> None:
    request = spatial_index_pb2.EncodeLocationRequest(lat=HERE["lat"], lng=HERE["lng"], resolution=[9])
    message = request.SerializeToString()
    response = await client.post(
        "/geomesh.spatial_index.v1.SpatialIndexService/EncodeLocation",
        content=struct.pack(">BI", 0, len(message)) + message,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    flag, length = struct.unpack(">BI", response.content[:5])
    reply = spatial_index_pb2.EncodeLocationResponse.FromString(response.content[5 : 5 + length])
    assert (flag, reply.cells[0].cell) == (0, "8928308280fffff")
    assert b"grpc-status:0" in response.content[5 + length :]


async def test_a_parameter_may_be_written_in_either_case(client: httpx.AsyncClient) -> None:
    camel = await client.get("/v1/cells:encode", params=HERE | {"geohashPrecision": 5})
    snake = await client.get("/v1/cells:encode", params=HERE | {"geohash_precision": 5})
    assert camel.json() == snake.json()


@pytest.mark.parametrize(
    "query", ["q=M%C3%BCnchen", "q=München", "q=m%c3%bcnchen", "q=%E3%83%9F%E3%83%A5%E3%83%B3%E3%83%98%E3%83%B3"]
)
async def test_a_name_may_be_in_any_script(client: httpx.AsyncClient, query: str) -> None:
    found = (await client.get(f"/v1/geocode?{query}")).json()["results"][0]["place"]
    munich = (await client.get("/v1/geocode?q=Munich")).json()["results"][0]["place"]
    assert found["placeId"] == munich["placeId"]


@pytest.mark.parametrize("query", ["q=san+fr", "q=san%20fr"])
async def test_a_space_may_be_written_in_either_way(client: httpx.AsyncClient, query: str) -> None:
    results = (await client.get(f"/v1/places:autocomplete?{query}")).json()["results"]
    assert "San Francisco" in [result["place"]["name"] for result in results[:3]]


@pytest.mark.parametrize("algorithm", ["SIMILARITY_ALGORITHM_TRIGRAM", "similarity_algorithm_trigram", "1"])
async def test_an_enum_may_be_written_in_either_case_or_as_its_number(
    client: httpx.AsyncClient, algorithm: str
) -> None:
    response = await client.get("/v1/places:search", params={"q": "Copenhagn", "algorithm": algorithm})
    assert response.status_code == 200, response.text
    assert response.json()["results"][0]["place"]["name"] == "Copenhagen"


async def test_every_get_without_parameters_answers(client: httpx.AsyncClient) -> None:
    for path in ("/healthz", "/livez", "/.well-known/jwks.json", "/v1/airquality/indices"):
        assert (await client.get(path)).status_code == 200, path


async def test_a_get_and_a_post_of_the_same_rpc_agree(client: httpx.AsyncClient) -> None:
    by_get = await client.get("/v1/geocode", params={"q": "Nairobi", "limit": 1})
    by_post = await client.post("/v1/geocode", json={"q": "Nairobi", "limit": 1})
    assert by_get.json() == by_post.json()


async def test_the_status_names_every_service(client: httpx.AsyncClient, mesh: Mesh) -> None:
    status = (await client.get("/healthz")).json()
    assert {service["service"] for service in status["services"]} == {*mesh.programs, LIMITS}
    assert {len(service["replicas"]) for service in status["services"]} == {mesh.stack.replicas}


async def test_reflection_describes_every_service(channel: Any) -> None:  # the published stubs know no asyncio
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    names = load().services
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(reflection_pb2.ServerReflectionRequest(file_containing_symbol=name) for name in names),
    ]
    replies = [reply async for reply in stub.ServerReflectionInfo(iter(requests))]
    assert set(names) <= {service.name for service in replies[0].list_services_response.service}
    assert all(reply.file_descriptor_response.file_descriptor_proto for reply in replies[1:])


async def test_health_answers_for_every_service(channel: Any) -> None:  # as above
    stub: Any = health_pb2_grpc.HealthStub(channel)
    for name in ("", *load().services):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


async def test_a_stream_from_the_client_passes_the_edge(mesh: Mesh, channel: grpc.aio.Channel) -> None:
    stub: airquality_pb2_grpc.AirQualityServiceAsyncStub = airquality_pb2_grpc.AirQualityServiceStub(channel)
    nowhere = airquality_pb2.Reading(station_id="of-nobody", pollutant=airquality_pb2.POLLUTANT_PM25, value=1.0)
    messages = [airquality_pb2.IngestReadingsRequest(readings=[nowhere] * 3)] * 4
    reply = await stub.IngestReadings(iter(messages), metadata=(("authorization", f"Bearer {mesh.token('user')}"),))
    assert reply.accepted_count == 0
    assert [error.index for error in reply.errors] == list(range(12))


async def test_a_write_without_token_is_401_and_with_too_small_a_role_403(
    client: httpx.AsyncClient, mesh: Mesh
) -> None:
    entity = {"entities": [{"entityId": "bus-7"}]}
    error_of(await client.post("/v1/entities:batch", json=entity), 401, "TOKEN_MISSING")
    forged = {"authorization": "Bearer not.a.token"}
    error_of(await client.post("/v1/entities:batch", json=entity, headers=forged), 401, "TOKEN_INVALID")
    visitor = {"authorization": f"Bearer {mesh.token('public')}"}
    error_of(await client.post("/v1/entities:batch", json=entity, headers=visitor), 403, "PERMISSION_MISSING")
