"""The geocoder."""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

from bench.load import ghz
from bench.mesh import Mesh
from bench.report import Row, ceiling, floor, median
from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc

NAMES = (
    "Nairobi,München,Springfield Illinois,Reykjavík,Москва,東京,Ulaanbaatar,Santiago de Chile,Portland Oregon,Paris Texas,"
    "San Francisco,القاهرة,Wien,Kraków,Buenos Aires,Ho Chi Minh City,Αθήνα,New Delhi,Cape Town,Saint-Denis"
).split(",")
PREFIXES = "s,sa,san,san fr,mün,par,new y,ber,tok,moskv,lon,ri,k,bue,ath".split(",")
TYPOS = (
    "Copenhagn,Sidney,Pittsburg,Edinburg,Johanesburg,Los Angelos,Amsterdm,Budapset,Reykjavk,Barcelna,Mancester".split(
        ","
    )
)
ROUNDS = 20


def rows(mesh: Mesh) -> Iterator[Row]:
    """Reverse geocoding under load, and one request at a time where people wait."""
    points = [{"lat": random.uniform(-60, 75), "lng": random.uniform(-180, 180)} for _ in range(20_000)]
    method = "geomesh.geocoder.v1.GeocoderService.ReverseGeocode"
    rate = median(
        lambda: (
            ghz(
                mesh.address("geocoder"), method, points, protoset=mesh.protoset, seconds=5, metadata=mesh.metadata
            ).per_second
        )
    )
    yield floor("ReverseGeocode, random points, nothing cached", rate, "req/s", 1000)
    with grpc.insecure_channel(mesh.address("geocoder")) as channel:
        stub = geocoder_pb2_grpc.GeocoderServiceStub(channel)
        # The focus makes each request another one, so that no reply comes from the cache.
        yield ceiling(
            "Geocode, one in flight, p50",
            _p50(stub.Geocode, [_anywhere(pb.GeocodeRequest, q=name) for name in NAMES * ROUNDS], mesh),
            "ms",
            3,
        )
        yield ceiling(
            "Autocomplete, one in flight, p50",
            _p50(stub.Autocomplete, [_anywhere(pb.AutocompleteRequest, q=name) for name in PREFIXES * ROUNDS], mesh),
            "ms",
            3,
        )
        yield ceiling(
            "SearchPlaces with typos, 1.18 million names, one in flight, p50",
            _p50(stub.SearchPlaces, [pb.SearchPlacesRequest(q=name) for name in TYPOS * ROUNDS], mesh),
            "ms",
            10,
        )


def _anywhere(kind: type[Any], **fields: Any) -> Any:
    return kind(focus_lat=random.uniform(-60, 60), focus_lng=random.uniform(-180, 180), **fields)


def _p50(call: Callable[..., object], requests: list[Any], mesh: Mesh) -> float:
    metadata = tuple(mesh.metadata.items())
    seconds = []
    for request in requests:
        started = time.perf_counter()
        call(request, metadata=metadata)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000
