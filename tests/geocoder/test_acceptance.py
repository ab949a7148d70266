"""Queries of geocoder-tester with the coordinates it expects, held against the service."""

import csv
import math
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import pytest

from geocoder.scoring import distance_meters
from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc
from tests.geocoder.builders import place
from tests.geocoder.conftest import SHARED

QUERIES = SHARED / "geocode_acceptance"

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(not QUERIES.exists(), reason="the acceptance queries are not beside this checkout"),
]

Stub: TypeAlias = "geocoder_pb2_grpc.GeocoderServiceAsyncStub"
# Their points and ours lie in the middle of one and the same town, which may be some kilometres apart.
_SAME_TOWN_METERS = 10_000.0


class Case(NamedTuple):
    """A query, the country meant, and where the place is."""

    query: str
    country: str
    lat: float
    lng: float
    tolerance_meters: float


def cases(name: str) -> Iterator[Case]:
    """Yields the queries of a file."""
    with (QUERIES / name).open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter=";"):
            lat, lng, tolerance = map(float, row["expected_coordinate"].split(","))
            country = row.get("expected_country") or row.get("country") or ""
            yield Case(row["query"], country, lat, lng, max(tolerance, _SAME_TOWN_METERS))


async def share_found(geocoder: Stub, name: str, among: int, *, with_country: bool) -> float:
    """Returns the share of the queries whose place is among the first results."""
    found = []
    for case in cases(name):
        text = f"{case.query}, {case.country}" if with_country else case.query
        reply = await geocoder.Geocode(pb.GeocodeRequest(q=text))
        locations = [place(lat=each.location.lat, lng=each.location.lng) for each in reply.results[:among]]
        found.append(any(distance_meters(case.lat, case.lng, each) <= case.tolerance_meters for each in locations))
    assert len(found) >= 80
    return math.fsum(found) / len(found)


@pytest.mark.parametrize(
    ("name", "among", "with_country", "least"),
    [
        ("gt_germany_test_cities.csv", 1, False, 1.0),
        ("gt_germany_test_cities.csv", 1, True, 1.0),
        ("gt_germany_test_towns.csv", 1, False, 0.98),
        ("gt_germany_test_towns.csv", 1, True, 0.98),
        # One in ten names of US cities is that of a larger place elsewhere, or of two cities in the list.
        ("gt_usa_test_cities.csv", 1, False, 0.89),
        ("gt_usa_test_cities.csv", 1, True, 0.94),
        ("gt_usa_test_cities.csv", 3, False, 0.98),
    ],
)
async def test_finds_the_places_that_were_meant(
    geocoder: Stub, name: str, among: int, *, with_country: bool, least: float
) -> None:
    assert await share_found(geocoder, name, among, with_country=with_country) >= least
