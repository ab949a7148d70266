"""Geocoding, asked of the real service with the whole gazetteer."""

from typing import Any, TypeAlias

import pytest

from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc
from geomesh.types.v1.types_pb2 import BoundingBox
from tests.geocoder.conftest import names

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
Stub: TypeAlias = "geocoder_pb2_grpc.GeocoderServiceAsyncStub"
MUNICH = "geonames.2867714"


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
