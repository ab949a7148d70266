"""What users were promised, asked of the real service with the whole gazetteer."""

import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc
import h3  # type: ignore[import-untyped]  # ships no types
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
from tests.geocoder.conftest import names
from tests.refusals import refused, told

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]

Stub: TypeAlias = "geocoder_pb2_grpc.GeocoderServiceAsyncStub"

MUNICH = "geonames.2867714"
INVALID = grpc.StatusCode.INVALID_ARGUMENT


async def first(geocoder: Stub, text: str, **fields: Any) -> pb.GeocodeResult:
    """Returns the best result for a text."""
    return (await geocoder.Geocode(pb.GeocodeRequest(q=text, **fields))).results[0]


async def test_nairobi_is_in_kenya(geocoder: Stub) -> None:
    result = await first(geocoder, "Nairobi")
    assert (result.place.name, result.place.country_code) == ("Nairobi", "KE")
    assert result.location.lat == pytest.approx(-1.286, abs=0.15)
    assert result.location.lng == pytest.approx(36.817, abs=0.15)
    assert result.match_type == pb.MATCH_TYPE_EXACT
    assert result.confidence > 0.95


@pytest.mark.parametrize(
    "name", ["München", "Munich", "ミュンヘン", "Muenchen", "MÜNCHEN", "munchen", "Мюнхен", "慕尼黑"]
)
async def test_munich_is_one_place_in_every_language(geocoder: Stub, name: str) -> None:
    assert (await first(geocoder, name)).place.place_id == MUNICH


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Portland, Oregon", "Portland, Oregon, United States"),
        ("Portland Oregon", "Portland, Oregon, United States"),
        ("portland or", "Portland, Oregon, United States"),
        ("Springfield IL", "Springfield, Illinois, United States"),
        ("Springfield, Illinois", "Springfield, Illinois, United States"),
        ("Paris Texas", "Paris, Texas, United States"),
        ("Paris, TX, USA", "Paris, Texas, United States"),
        ("Paris", "Paris, Île-de-France, France"),
        ("paris france", "Paris, Île-de-France, France"),
        ("london united kingdom", "London, England, United Kingdom"),
        ("London Ontario", "London, Ontario, Canada"),
        ("Toronto, ON", "Toronto, Ontario, Canada"),
        ("Sydney NSW", "Sydney, New South Wales, Australia"),
        ("München, Bayern", "Munich, Bavaria, Germany"),
        ("München, Deutschland", "Munich, Bavaria, Germany"),
        ("Deutschland München", "Munich, Bavaria, Germany"),
        ("Cologne", "Köln, North Rhine-Westphalia, Germany"),
        ("Mesa, United States of America", "Mesa, Arizona, United States"),
        ("New York", "New York City, New York, United States"),
        ("Georgia", "Georgia"),
        ("Georgia USA", "Georgia, United States"),
        ("Mexico", "Mexico"),
        ("Deutschland", "Germany"),
        ("日本", "Japan"),
        ("UK", "United Kingdom"),
        ("Bayern", "Bavaria, Germany"),
        ("Kalifornien", "California, United States"),
        ("Saint Louis, MO", "St. Louis, Missouri, United States"),
        ("90210", "90210, California, United States"),
        ("Copenhagn Denmark", "Copenhagen, Capital Region, Denmark"),
        ("Copenhagn, Denmark", "Copenhagen, Capital Region, Denmark"),
        ("10 Downing Street, London, UK", "London, England, United Kingdom"),
    ],
)
async def test_understands_a_name_and_where_it_lies(geocoder: Stub, text: str, expected: str) -> None:
    assert (await first(geocoder, text)).place.display_name == expected


async def test_every_result_says_what_it_is_and_what_it_lies_in(geocoder: Stub) -> None:
    place = (await first(geocoder, "Basel, Switzerland")).place
    assert (place.country, place.country_code, place.admin1, place.admin1_iso_code) == (
        "Switzerland", "CH", "Basel-City", "CH-BS",
    )  # fmt: skip
    assert [division.name for division in place.hierarchy][-2:] == ["Basel-City", "Switzerland"]
    assert (place.timezone, place.feature_class, place.layer) == ("Europe/Zurich", "P", pb.LAYER_LOCALITY)
    assert place.population > 150_000


async def test_says_what_each_part_was_understood_as(geocoder: Stub) -> None:
    components = (await first(geocoder, "Springfield, IL 62701, USA")).matched_components
    assert [(each.type, each.text) for each in components] == [
        (pb.COMPONENT_TYPE_NAME, "springfield"),
        (pb.COMPONENT_TYPE_REGION, "il"),
        (pb.COMPONENT_TYPE_POSTAL_CODE, "62701"),
        (pb.COMPONENT_TYPE_COUNTRY, "usa"),
    ]


async def test_is_less_sure_where_many_have_the_name(geocoder: Stub) -> None:
    assert (await first(geocoder, "Springfield")).confidence < 0.7 < (await first(geocoder, "Nairobi")).confidence


async def test_structured_parts_find_the_city(geocoder: Stub) -> None:
    request = pb.GeocodeRequest(city="Portland", state="OR", country="US", street="1 Main Street")
    (result, *_) = (await geocoder.Geocode(request)).results
    assert result.place.display_name == "Portland, Oregon, United States"
    assert result.matched_components[0].type == pb.COMPONENT_TYPE_UNMATCHED
    assert result.confidence < 0.7


async def test_structured_postal_code_finds_its_area(geocoder: Stub) -> None:
    reply = await geocoder.Geocode(pb.GeocodeRequest(postal_code="97201", country="USA"))
    assert reply.results[0].place.place_id == "postcode.US.97201"


async def test_names_are_in_the_language_asked_for(geocoder: Stub) -> None:
    assert (await first(geocoder, "Munich", language="ja")).place.display_name == "ミュンヘン, バイエルン, ドイツ"
    assert (await first(geocoder, "Munich", language="fr-CA")).place.country == "Allemagne"
    assert (await first(geocoder, "Munich", language="tlh")).place.country == "Germany"


async def test_filters_by_country_layer_and_rectangle(geocoder: Stub) -> None:
    in_texas = BoundingBox(south=25, west=-107, north=37, east=-93)
    assert (await first(geocoder, "Paris", country_codes=["us"])).place.country_code == "US"
    assert (await first(geocoder, "Paris", bbox=in_texas)).place.admin1 == "Texas"
    assert (await first(geocoder, "New York", layers=[pb.LAYER_REGION])).place.place_id == "admin1.US.NY"
    assert names(await geocoder.Geocode(pb.GeocodeRequest(q="Nairobi", country_codes=["FR"]))) == []
    assert names(await geocoder.Geocode(pb.GeocodeRequest(q="Nairobi", layers=[pb.LAYER_STREET]))) == []


async def test_a_rectangle_may_cross_the_antimeridian(geocoder: Stub) -> None:
    fiji = BoundingBox(south=-20, west=176, north=-15, east=-178)
    assert (await first(geocoder, "Suva", bbox=fiji)).place.country_code == "FJ"
    assert names(await geocoder.Geocode(pb.GeocodeRequest(q="Nairobi", bbox=fiji))) == []


async def test_prefers_what_lies_near_the_focus(geocoder: Stub) -> None:
    result = await first(geocoder, "Springfield", focus_lat=44.05, focus_lng=-123.0)
    assert result.place.admin1 == "Oregon"
    assert result.distance_meters < 20_000


async def test_limit_is_clamped(geocoder: Stub) -> None:
    assert len((await geocoder.Geocode(pb.GeocodeRequest(q="San Antonio"))).results) == 10
    assert len((await geocoder.Geocode(pb.GeocodeRequest(q="San Antonio", limit=3))).results) == 3
    assert len((await geocoder.Geocode(pb.GeocodeRequest(q="San Antonio", limit=10_000))).results) <= 50


async def test_what_nobody_is_called_finds_nothing(geocoder: Stub) -> None:
    assert names(await geocoder.Geocode(pb.GeocodeRequest(q="qzxqzxqzxqzx"))) == []


async def test_the_eiffel_tower_stands_in_paris(geocoder: Stub) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=48.8584, lng=2.2945))
    (result,) = reply.results
    assert (result.place.name, reply.country_code, reply.country, reply.at_sea) == ("Paris", "FR", "France", False)
    assert [division.name for division in result.place.hierarchy][-2:] == ["Île-de-France", "France"]
    assert result.match_type == pb.MATCH_TYPE_NEAREST
    assert result.confidence == 1


@pytest.mark.parametrize(
    ("lat", "lng", "country"),
    [
        (47.5596, 7.5886, "CH"),  # Basel, 3 km from France and Germany
        (47.5896, 7.5597, "FR"),  # Saint-Louis, just across
        (47.6196, 7.6146, "DE"),  # Weil am Rhein
        (43.7384, 7.4246, "MC"),
        (41.9029, 12.4534, "VA"),
        (32.5027, -117.0037, "MX"),  # Tijuana
        (32.5556, -117.0470, "US"),  # San Ysidro
        (60.1699, 24.9384, "FI"),
        (-33.8568, 151.2153, "AU"),
        (45.0, 34.1, "UA"),
    ],
)
async def test_the_border_decides_the_country(geocoder: Stub, lat: float, lng: float, country: str) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=lat, lng=lng))
    assert reply.country_code == country
    assert {result.place.country_code for result in reply.results} == {country}


async def test_the_high_seas_belong_to_nobody(geocoder: Stub) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=0, lng=-30))
    assert reply.at_sea
    assert (reply.country_code, reply.country, len(reply.results)) == ("", "", 0)


async def test_at_sea_the_nearest_place_is_offered_with_its_distance(geocoder: Stub) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=54.9, lng=6.0, radius_meters=200_000))
    assert reply.at_sea
    assert reply.country_code == ""
    assert 50_000 < reply.results[0].distance_meters < 200_000
    assert reply.results[0].confidence < 0.1


async def test_coastal_waters_belong_to_the_country(geocoder: Stub) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=43.67, lng=7.30))
    assert not reply.at_sea
    assert reply.country_code == "FR"


@pytest.mark.parametrize(
    ("lat", "lng", "country"),
    [(90, 0, ""), (-90, 0, "AQ"), (-16.8, 180, "FJ"), (-16.8, -180, "FJ"), (67.5, -180, "RU"), (67.5, 180, "RU")],
)
async def test_poles_and_antimeridian_have_names(geocoder: Stub, lat: float, lng: float, country: str) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=lat, lng=lng, radius_meters=500_000))
    assert reply.country_code == country


async def test_places_across_the_antimeridian_are_near(geocoder: Stub) -> None:
    near = [
        await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=-16.9, lng=lng, radius_meters=100_000))
        for lng in (179.999, -179.999)
    ]
    assert near[0].results[0].place.place_id == near[1].results[0].place.place_id


async def test_reverse_gives_each_layer_that_is_asked_for(geocoder: Stub) -> None:
    layers = [pb.LAYER_COUNTRY, pb.LAYER_REGION, pb.LAYER_LOCALITY, pb.LAYER_POSTCODE]
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=45.52, lng=-122.68, layers=layers, limit=2))
    found = [(result.place.layer, result.match_type) for result in reply.results]
    nearest, containing = pb.MATCH_TYPE_NEAREST, pb.MATCH_TYPE_CONTAINING
    assert found == [
        (pb.LAYER_POSTCODE, nearest), (pb.LAYER_POSTCODE, nearest),
        (pb.LAYER_LOCALITY, nearest), (pb.LAYER_LOCALITY, nearest),
        (pb.LAYER_REGION, nearest), (pb.LAYER_COUNTRY, containing),
    ]  # fmt: skip


async def test_the_radius_does_not_decide_whose_the_water_is(geocoder: Stub) -> None:
    for radius_meters in (10.0, 1_000.0, 20_000.0):
        request = pb.ReverseGeocodeRequest(lat=43.57, lng=7.30, radius_meters=radius_meters)
        reply = await geocoder.ReverseGeocode(request)
        assert (reply.country_code, reply.at_sea) == ("FR", False)
        assert all(result.distance_meters <= radius_meters for result in reply.results)


@pytest.mark.parametrize(("lat", "lng"), [(-21.07, -130.1), (-25.07, -126.1)], ids=["from the north", "from the east"])
async def test_the_radius_is_geodesic_and_not_that_of_a_sphere(geocoder: Stub, lat: float, lng: float) -> None:
    async def found(radius_meters: float) -> list[float]:
        request = pb.ReverseGeocodeRequest(lat=lat, lng=lng, radius_meters=radius_meters, layers=[pb.LAYER_LOCALITY])
        return [result.distance_meters for result in (await geocoder.ReverseGeocode(request)).results]

    (distance,) = await found(500_000)  # Adamstown, with nothing but water around
    assert await found(distance + 1) == [distance]
    assert await found(distance - 1) == []


async def test_reverse_gives_names_in_the_language_asked_for(geocoder: Stub) -> None:
    layers = [pb.LAYER_REGION, pb.LAYER_COUNTRY]
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=48.14, lng=11.57, layers=layers, language="fr"))
    assert [result.place.name for result in reply.results] == ["Bavière", "Allemagne"]
    assert [result.place.display_name for result in reply.results] == ["Bavière, Allemagne", "Allemagne"]
    assert reply.country == "Allemagne"


async def test_reverse_gives_the_county_of_the_nearest_town(geocoder: Stub) -> None:
    request = pb.ReverseGeocodeRequest(lat=45.52, lng=-122.68, layers=[pb.LAYER_COUNTY])
    (result,) = (await geocoder.ReverseGeocode(request)).results
    assert (result.place.place_id, result.place.name) == ("admin2.US.OR.051", "Multnomah County")
    assert result.match_type == pb.MATCH_TYPE_NEAREST


async def test_land_without_towns_is_named_by_its_country(geocoder: Stub) -> None:
    reply = await geocoder.ReverseGeocode(pb.ReverseGeocodeRequest(lat=23.5, lng=9.0, radius_meters=10_000))
    (result,) = reply.results
    assert (result.place.name, result.match_type) == ("Algeria", pb.MATCH_TYPE_CONTAINING)


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
