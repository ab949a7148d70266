"""Batches, and what is refused, asked of the real service with the whole gazetteer."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import pytest
from pydantic import SecretStr

from geocoder.repository import GazetteerRepository
from geocoder.servicer import GeocoderServicer
from geocoder.settings import Settings
from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc
from geomesh.types.v1.types_pb2 import BoundingBox
from meshkit.cache import Cache
from meshkit.errors import Unavailable
from meshkit.postgres import Postgres
from tests.refusals import refused, told

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
Stub: TypeAlias = "geocoder_pb2_grpc.GeocoderServiceAsyncStub"
MUNICH = "geonames.2867714"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def first(geocoder: Stub, text: str, **fields: Any) -> pb.GeocodeResult:
    """Returns the best result for a text."""
    return (await geocoder.Geocode(pb.GeocodeRequest(q=text, **fields))).results[0]


async def test_says_that_no_gazetteer_is_loaded(database_url: Callable[[str], str]) -> None:
    empty = Postgres(Settings(postgres_dsn=SecretStr(database_url("geocoder"))))
    await empty.start()
    servicer = GeocoderServicer(Settings(), GazetteerRepository(empty), Cache(Settings()))
    with pytest.raises(Unavailable, match="the gazetteer is not loaded"):
        await servicer.GetPlace(pb.GetPlaceRequest(place_id=MUNICH), None)
    with pytest.raises(Unavailable, match="the gazetteer is not loaded"):
        await servicer.ReverseGeocode(pb.ReverseGeocodeRequest(lat=1, lng=2), None)
    await empty.close()


async def test_a_batch_answers_each_in_its_order(geocoder: Stub) -> None:
    requests = [
        pb.GeocodeRequest(q="Paris"),
        pb.GeocodeRequest(),
        pb.GeocodeRequest(q="%%"),
        pb.GeocodeRequest(q="Copenhagn"),
        pb.GeocodeRequest(q="Munich", language="ja"),
        pb.GeocodeRequest(q="x" * 201),
        pb.GeocodeRequest(q="qzxqzxqzxqzx"),
    ]
    results = (await geocoder.BatchGeocode(pb.BatchGeocodeRequest(requests=requests))).results
    outcomes = ["response", "error", "error", "response", "response", "error", "response"]
    assert [result.WhichOneof("outcome") for result in results] == outcomes
    assert results[0].response == await geocoder.Geocode(requests[0])
    assert results[4].response == await geocoder.Geocode(requests[4])
    assert told(results[1].error)[0] == "INVALID_FIELD"
    assert told(results[2].error) == ("INVALID_FIELD", ["q"])
    assert told(results[5].error) == ("INVALID_FIELD", ["q"])
    assert list(results[6].response.results) == []


async def test_a_batch_takes_a_thousand_and_no_more(geocoder: Stub) -> None:
    thousand = [pb.GeocodeRequest(q="Paris")] * 1000
    assert len((await geocoder.BatchGeocode(pb.BatchGeocodeRequest(requests=thousand))).results) == 1000
    for requests in ([], [*thousand, pb.GeocodeRequest(q="Paris")]):
        code, _, fields = await refused(geocoder.BatchGeocode(pb.BatchGeocodeRequest(requests=requests)))
        assert (code, fields) == (INVALID, ["requests"])


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("Geocode", pb.GeocodeRequest(), "q"),
        ("Geocode", pb.GeocodeRequest(q="Paris", city="Paris"), "q"),
        ("Geocode", pb.GeocodeRequest(q="x" * 201), "q"),
        ("Geocode", pb.GeocodeRequest(q="a\x00b"), "q"),
        ("Geocode", pb.GeocodeRequest(q="a\nb"), "q"),
        ("Geocode", pb.GeocodeRequest(q="%_\\"), "q"),
        ("Geocode", pb.GeocodeRequest(city="--"), "city"),
        ("Geocode", pb.GeocodeRequest(state="--"), "state"),
        ("Geocode", pb.GeocodeRequest(street="?", country="!"), "street"),
        ("Geocode", pb.GeocodeRequest(q="a", limit=-1), "limit"),
        ("Geocode", pb.GeocodeRequest(q="a", country_codes=["XXX"]), "country_codes[0]"),
        ("Geocode", pb.GeocodeRequest(q="a", language="'; --"), "language"),
        ("Geocode", pb.GeocodeRequest(q="a", focus_lat=1), "focus_lng"),
        ("Geocode", pb.GeocodeRequest(q="a", focus_lat=math.nan, focus_lng=1), "focus_lat"),
        ("Geocode", pb.GeocodeRequest(q="a", layers=[pb.Layer.ValueType(99)]), "layers[0]"),
        ("Geocode", pb.GeocodeRequest(q="a", bbox=BoundingBox(south=2, west=0, north=1, east=1)), "bbox.south"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=1), "lng"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lng=1), "lat"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=91, lng=0), "lat"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=0, lng=-180.5), "lng"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=math.nan, lng=0), "lat"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=0, lng=math.inf), "lng"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=0, lng=0, radius_meters=-1), "radius_meters"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=0, lng=0, radius_meters=math.nan), "radius_meters"),
        ("ReverseGeocode", pb.ReverseGeocodeRequest(lat=0, lng=0, radius_meters=500_001), "radius_meters"),
        ("SearchPlaces", pb.SearchPlacesRequest(), "q"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="%"), "q"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", min_similarity=1.5), "min_similarity"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", min_similarity=math.nan), "min_similarity"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", algorithm=pb.SimilarityAlgorithm.ValueType(99)), "algorithm"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", admin_level=3), "admin_level"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", min_population=2, max_population=1), "max_population"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", page_size=-1), "page_size"),
        ("SearchPlaces", pb.SearchPlacesRequest(q="a", page_token="nonsense"), "page_token"),
        ("Autocomplete", pb.AutocompleteRequest(), "q"),
        ("Autocomplete", pb.AutocompleteRequest(q="_"), "q"),
        ("Autocomplete", pb.AutocompleteRequest(q="a\x1b"), "q"),
        ("Autocomplete", pb.AutocompleteRequest(q="a", limit=-1), "limit"),
        ("GetPlace", pb.GetPlaceRequest(), "place_id"),
        ("GetPlace", pb.GetPlaceRequest(place_id="x" * 101), "place_id"),
    ],
)
async def test_refuses_bad_input_and_names_the_field(geocoder: Stub, method: str, request_: Any, field: str) -> None:
    code, reason, fields = await refused(getattr(geocoder, method)(request_))
    assert code == INVALID
    assert reason in ("INVALID_FIELD", "INVALID_PAGE_TOKEN")
    assert fields == [field]


@pytest.mark.parametrize(
    "text",
    [
        "'; DROP TABLE geocoder.places; --",
        "Robert'); DELETE FROM names;--",
        "100% Paris",
        "a_b\\c%d",
        "\\",
        "Union Square",
        "😀 Paris",
        "a" * 200,
        "a " * 100,
        ", , ,Paris, , ,",
        "\u202ePa\u200bris",
        "\U0010ffff",
        "ﷺ",
    ],
)
async def test_strange_text_is_only_text(geocoder: Stub, text: str) -> None:
    calls: list[Awaitable[Any]] = [
        geocoder.Geocode(pb.GeocodeRequest(q=text)),
        geocoder.SearchPlaces(pb.SearchPlacesRequest(q=text)),
        geocoder.Autocomplete(pb.AutocompleteRequest(q=text)),
    ]
    for call in calls:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            assert error.code() is INVALID  # noqa: PT017 -- either answer is right
    assert (await first(geocoder, "Nairobi")).place.country_code == "KE"
