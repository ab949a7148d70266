"""The request path and the edge."""

from collections.abc import Iterator

from bench.load import ghz, h2load_grpc, h2load_rest
from bench.mesh import Mesh, echo
from bench.report import Row, in_turn, ratio
from geomesh.spatial_index.v1 import spatial_index_pb2 as pb

METHOD = "geomesh.spatial_index.v1.SpatialIndexService.EncodeLocation"
PATH = "/geomesh.spatial_index.v1.SpatialIndexService/EncodeLocation"
LAT, LNG = 37.7752702151959, -122.418307270836
REQUEST = {"lat": LAT, "lng": LNG, "resolution": [9]}
QUERY = "/v1/cells:encode?lat=37.7752702151959&lng=-122.418307270836&resolution=9"
SECONDS = 2.0


def request_path(mesh: Mesh) -> Iterator[Row]:
    """EncodeLocation through everything that meshkit puts before a handler, against a server with nothing."""
    message = pb.EncodeLocationRequest(lat=LAT, lng=LNG, resolution=[9])
    # h2load counts replies and does not look into them; ghz does.
    ghz(mesh.address("spatial-index"), METHOD, REQUEST, protoset=mesh.protoset, seconds=1, metadata=mesh.metadata)
    with echo(mesh) as limit:

        def rate(address: str) -> float:
            return h2load_grpc(address, PATH, message, seconds=SECONDS, headers=mesh.metadata).per_second

        ours, bare = in_turn(lambda: rate(mesh.address("spatial-index")), lambda: rate(limit))
    yield ratio("EncodeLocation, whole request path / bare grpc.aio echo", ours, bare, "req/s", 0.80)


def rest(mesh: Mesh, replicas: int, at_least: float) -> Iterator[Row]:
    """The same call as REST through Envoy, against gRPC straight to one process."""
    message = pb.EncodeLocationRequest(lat=LAT, lng=LNG, resolution=[9])

    def through_envoy() -> float:
        return h2load_rest(mesh.stack.edge_url + QUERY, seconds=SECONDS, headers=mesh.metadata).per_second

    def direct() -> float:
        address = mesh.address("spatial-index")
        return h2load_grpc(address, PATH, message, seconds=SECONDS, headers=mesh.metadata).per_second

    ours, limit = in_turn(through_envoy, direct)
    noun = "replica" if replicas == 1 else "replicas"
    yield ratio(
        f"EncodeLocation as REST through Envoy, {replicas} {noun} / direct gRPC", ours, limit, "req/s", at_least
    )
