"""Search, completion and single places, asked of the real service with the whole gazetteer."""

from typing import Any, TypeAlias

import grpc
import h3  # type: ignore[import-untyped]  # ships no types
import pytest

from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc
from geomesh.types.v1.types_pb2 import BoundingBox
from tests.geocoder.conftest import names
from tests.refusals import refused

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
Stub: TypeAlias = "geocoder_pb2_grpc.GeocoderServiceAsyncStub"
MUNICH = "geonames.2867714"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def test_copenhagen_is_found_though_misspelled(geocoder: Stub) -> None:
    reply = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="Copenhagn"))
    assert names(reply)[0] == "Copenhagen, Capital Region, Denmark"
    assert reply.results[0].matched_name == "Copenhagen"
    assert reply.results[0].similarity == pytest.approx(0.98, abs=0.005)


@pytest.mark.parametrize(
    ("algorithm", "least"),
    [
        (pb.SIMILARITY_ALGORITHM_TRIGRAM, 0.4),
        (pb.SIMILARITY_ALGORITHM_JARO_WINKLER, 0.7),
        (pb.SIMILARITY_ALGORITHM_LEVENSHTEIN, 0.7),
        (pb.SIMILARITY_ALGORITHM_BEST, 0.7),
    ],
)
@pytest.mark.parametrize(
    ("typo", "city"), [("Copenhagn", "Copenhagen"), ("Reykjavick", "Reykjavík"), ("Nairobbi", "Nairobi")]
)
async def test_every_algorithm_finds_it(
    geocoder: Stub, algorithm: pb.SimilarityAlgorithm.ValueType, least: float, typo: str, city: str
) -> None:
    reply = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q=typo, algorithm=algorithm))
    assert reply.results[0].place.name == city
    similarities = [result.similarity for result in reply.results]
    assert similarities == sorted(similarities, reverse=True)
    assert min(similarities) >= least


async def test_a_swap_of_letters_in_a_short_name_is_forgiven(geocoder: Stub) -> None:
    reply = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="Pairs"))
    assert "Paris, Île-de-France, France" in names(reply)


async def test_search_filters(geocoder: Stub) -> None:
    async def found(**fields: Any) -> list[pb.Place]:
        reply = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="Pariss", page_size=100, **fields))
        return [result.place for result in reply.results]

    assert {place.country_code for place in await found(country_codes=["US"])} == {"US"}
    assert all(place.population >= 100_000 for place in await found(min_population=100_000))
    assert all(0 < place.population <= 10_000 for place in await found(max_population=10_000))
    assert {place.feature_class for place in await found(feature_classes=["A"])} == {"A"}
    assert {place.layer for place in await found(admin_level=2)} == {pb.LAYER_COUNTY}
    box = BoundingBox(south=40, west=-10, north=60, east=10)
    assert all(40 <= place.location.lat <= 60 and -10 <= place.location.lng <= 10 for place in await found(bbox=box))


async def test_least_similarity_cuts_off(geocoder: Stub) -> None:
    reply = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="Copenhagn", min_similarity=0.97, page_size=100))
    assert all(result.similarity >= 0.97 for result in reply.results)
    nothing = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="qzxqzxqzx", min_similarity=1.0))
    assert names(nothing) == []


async def test_pages_follow_each_other_without_gap_or_overlap(geocoder: Stub) -> None:
    whole = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="Springfeld", page_size=100))
    token, pages = "", []
    for _ in range(4):
        request = pb.SearchPlacesRequest(q="Springfeld", page_size=7, page_token=token)
        page = await geocoder.SearchPlaces(request)
        pages += [result.place.place_id for result in page.results]
        token = page.next_page_token
    assert pages == [result.place.place_id for result in whole.results][:28]


async def test_refuses_the_page_token_of_another_query(geocoder: Stub) -> None:
    page = await geocoder.SearchPlaces(pb.SearchPlacesRequest(q="Springfeld", page_size=1))
    other = pb.SearchPlacesRequest(q="Paris", page_token=page.next_page_token)
    code, reason, fields = await refused(geocoder.SearchPlaces(other))
    assert (code, reason, fields) == (INVALID, "INVALID_PAGE_TOKEN", ["page_token"])


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("san fr", "San Francisco, California, United States"),
        ("mün", "Munich, Bavaria, Germany"),
        ("ミュ", "Munich, Bavaria, Germany"),
        ("москв", "Moscow, Russia"),
        ("portland, or", "Portland, Oregon, United States"),
        ("portland or", "Portland, Oregon, United States"),
        ("new york, un", "New York City, New York, United States"),
        ("berl", "Berlin, State of Berlin, Germany"),
    ],
)
async def test_completes_what_is_typed(geocoder: Stub, typed: str, expected: str) -> None:
    assert expected in names(await geocoder.Autocomplete(pb.AutocompleteRequest(q=typed)))[:3]


@pytest.mark.parametrize("typed", ["s", "x", "ü", "東", "9"])
async def test_completes_a_single_letter(geocoder: Stub, typed: str) -> None:
    reply = await geocoder.Autocomplete(pb.AutocompleteRequest(q=typed))
    assert len(reply.results) == 10
    assert all(result.match_type == pb.MATCH_TYPE_PREFIX or result.matched_name for result in reply.results)


async def test_a_space_ends_the_word(geocoder: Stub) -> None:
    reply = await geocoder.Autocomplete(pb.AutocompleteRequest(q="san ", limit=20))
    assert all(result.matched_name.casefold().startswith(("san ", "san-")) for result in reply.results)


async def test_completions_keep_to_country_layer_and_focus(geocoder: Stub) -> None:
    in_kiribati = await geocoder.Autocomplete(pb.AutocompleteRequest(q="b", country_codes=["KI"]))
    assert {result.place.country_code for result in in_kiribati.results} == {"KI"}
    regions = await geocoder.Autocomplete(pb.AutocompleteRequest(q="cal", layers=[pb.LAYER_REGION]))
    assert {result.place.layer for result in regions.results} == {pb.LAYER_REGION}
    near = await geocoder.Autocomplete(pb.AutocompleteRequest(q="portland", focus_lat=43.66, focus_lng=-70.25))
    assert near.results[0].place.admin1 == "Maine"


async def test_gets_a_place_in_full(geocoder: Stub) -> None:
    place = await geocoder.GetPlace(pb.GetPlaceRequest(place_id=MUNICH))
    assert {"München", "ミュンヘン", "Monaco di Baviera", "뮌헨"} <= {name.name for name in place.names}
    assert ("ko", "뮌헨") in {(name.language, name.name) for name in place.names}
    assert list(place.h3_cells) == [h3.latlng_to_cell(place.location.lat, place.location.lng, r) for r in range(16)]
    assert (place.timezone, place.country_code) == ("Europe/Berlin", "DE")


@pytest.mark.parametrize("place_id", ["admin1.DE.02", "admin2.US.OR.051", "postcode.US.97201", "geonames.3017382"])
async def test_ids_lead_back_to_their_place(geocoder: Stub, place_id: str) -> None:
    assert (await geocoder.GetPlace(pb.GetPlaceRequest(place_id=place_id))).place_id == place_id


@pytest.mark.parametrize("place_id", ["geonames.1", "nowhere", "' OR 1=1 --", "%", "geonames.99999999999999999999"])
async def test_an_unknown_id_is_not_found(geocoder: Stub, place_id: str) -> None:
    code, reason, _ = await refused(geocoder.GetPlace(pb.GetPlaceRequest(place_id=place_id)))
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "PLACE_NOT_FOUND")
