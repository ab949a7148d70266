"""Reverse geocoding, asked of the real service with the whole gazetteer."""

from typing import TypeAlias

import pytest

from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
Stub: TypeAlias = "geocoder_pb2_grpc.GeocoderServiceAsyncStub"


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
