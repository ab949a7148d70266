"""Between the contract's messages and the words of the domain."""

from collections.abc import Iterable, Sequence
from typing import Final

import h3  # type: ignore[import-untyped]  # ships no types

from geocoder.geocoding import Query, describe
from geocoder.parsing import AddressParts
from geocoder.places import BoundingBox, Division, Layer, Match, NamedPlace, Place, PlaceFilter
from geocoder.reversing import DEFAULT_RADIUS_METERS, Naming, Point
from geocoder.scripts import language_of
from geocoder.searching import Beginning, Search
from geocoder.spelling import Algorithm
from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.types.v1.types_pb2 import BoundingBox as BoundingBoxMessage
from geomesh.types.v1.types_pb2 import Location
from meshkit.errors import InvalidInput, Reason

_RESOLUTIONS: Final = range(16)
_LAYER_OF_ADMIN_LEVEL: Final = (Layer.COUNTRY, Layer.REGION, Layer.COUNTY)


def query(request: pb.GeocodeRequest) -> Query:
    """Returns what a Geocode request asks for."""
    parts = AddressParts(
        request.street, request.city, request.county, request.state, request.postal_code, request.country
    )
    return Query(
        text=request.q,
        parts=None if request.q else parts,
        limit=limit(request.limit, default=10, most=50),
        language=request.language,
        wanted=_filter(request.country_codes, request.layers, request.bbox if request.HasField("bbox") else None),
        focus=(request.focus_lat, request.focus_lng) if request.HasField("focus_lat") else None,
    )


def beginning(request: pb.AutocompleteRequest) -> Beginning:
    """Returns what an Autocomplete request asks for."""
    return Beginning(
        text=request.q,
        limit=limit(request.limit, default=10, most=20),
        language=request.language,
        wanted=_filter(request.country_codes, request.layers, None),
        focus=(request.focus_lat, request.focus_lng) if request.HasField("focus_lat") else None,
    )


def search(request: pb.SearchPlacesRequest, offset: int) -> Search:
    """Returns what a SearchPlaces request asks for, after `offset` results of the pages before."""
    wanted = PlaceFilter(
        country_codes=_codes(request.country_codes),
        layers=(_LAYER_OF_ADMIN_LEVEL[request.admin_level],) if request.HasField("admin_level") else (),
        feature_classes=tuple(sorted({each.upper() for each in request.feature_classes})),
        min_population=request.min_population,
        max_population=request.max_population if request.HasField("max_population") else None,
        bbox=_bbox(request.bbox) if request.HasField("bbox") else None,
    )
    return Search(
        text=request.q,
        algorithm=Algorithm(request.algorithm) if request.algorithm else Algorithm.JARO_WINKLER,
        least=request.min_similarity if request.HasField("min_similarity") else None,
        language=request.language,
        wanted=wanted,
        offset=offset,
        limit=limit(request.page_size, default=10, most=100),
    )


def point(request: pb.ReverseGeocodeRequest) -> Point:
    """Returns what a ReverseGeocode request asks for."""
    return Point(
        lat=request.lat,
        lng=request.lng,
        radius_meters=request.radius_meters or DEFAULT_RADIUS_METERS,
        layers=_layers(request.layers),
        language=request.language,
        limit=limit(request.limit, default=1, most=20),
    )


def limit(asked: int, *, default: int, most: int) -> int:
    """Returns how many results to give; 0 stands for the default."""
    return min(asked or default, most)


def page_offset(position: tuple[int, ...] | None) -> int:
    """Returns how many results the pages before had."""
    if position is None:
        return 0
    (offset,) = position
    if offset < 0:
        raise InvalidInput("page_token", "is not one of ours", reason=Reason.INVALID_PAGE_TOKEN)
    return offset


def geocoded(matches: Iterable[Match]) -> pb.GeocodeResponse:
    """Returns the reply of Geocode."""
    return pb.GeocodeResponse(
        results=[
            pb.GeocodeResult(
                place=place(match.place, match.hierarchy),
                location=_location(match.place),
                match_type=pb.MatchType.ValueType(match.match_type),
                confidence=round(match.confidence, 4),
                matched_name=match.matched_name,
                matched_components=[
                    pb.MatchedComponent(type=pb.ComponentType.ValueType(each.type), text=each.text)
                    for each in match.components
                ],
                distance_meters=match.distance_meters,
            )
            for match in matches
        ]
    )


def completed(matches: Iterable[Match]) -> pb.AutocompleteResponse:
    """Returns the reply of Autocomplete."""
    return pb.AutocompleteResponse(
        results=[
            pb.AutocompleteResult(
                place=place(match.place, match.hierarchy),
                location=_location(match.place),
                match_type=pb.MatchType.ValueType(match.match_type),
                confidence=round(match.confidence, 4),
                matched_name=match.matched_name,
                distance_meters=match.distance_meters,
            )
            for match in matches
        ]
    )


def searched(matches: Iterable[Match], next_page_token: str) -> pb.SearchPlacesResponse:
    """Returns the reply of SearchPlaces."""
    results = [
        pb.SearchPlacesResult(
            place=place(match.place, match.hierarchy),
            location=_location(match.place),
            match_type=pb.MatchType.ValueType(match.match_type),
            confidence=round(match.confidence, 4),
            matched_name=match.matched_name,
            similarity=round(match.similarity, 4),
        )
        for match in matches
    ]
    return pb.SearchPlacesResponse(results=results, next_page_token=next_page_token)


def named(naming: Naming) -> pb.ReverseGeocodeResponse:
    """Returns the reply of ReverseGeocode."""
    return pb.ReverseGeocodeResponse(
        results=[
            pb.ReverseGeocodeResult(
                place=place(match.place, match.hierarchy),
                location=_location(match.place),
                match_type=pb.MatchType.ValueType(match.match_type),
                confidence=round(match.confidence, 4),
                distance_meters=round(match.distance_meters or 0.0, 1),
            )
            for match in naming.matches
        ],
        country_code=naming.country_code,
        country=naming.country.name if naming.country else "",
        at_sea=not naming.country_code,
    )


def place(found: Place, hierarchy: Sequence[Division]) -> pb.Place:
    """Returns a place without the fields that only GetPlace fills."""
    by_layer = {division.layer: division for division in hierarchy}
    region, country = by_layer.get(Layer.REGION), by_layer.get(Layer.COUNTRY)
    county = by_layer.get(Layer.COUNTY)
    own = found.name
    return pb.Place(
        place_id=found.place_id,
        name=own,
        display_name=describe(own, (each.name for each in hierarchy if each.layer is not Layer.COUNTY)),
        layer=pb.Layer.ValueType(found.layer),
        feature_class=found.feature_class,
        country_code=found.country_code,
        country=country.name if country else own if found.layer is Layer.COUNTRY else "",
        admin1_code=found.admin1_code,
        admin1=region.name if region else own if found.layer is Layer.REGION else "",
        admin1_iso_code=region.iso_code if region else found.iso_code if found.layer is Layer.REGION else "",
        admin2=county.name if county else own if found.layer is Layer.COUNTY else "",
        hierarchy=[
            pb.Division(place_id=each.place_id, name=each.name, layer=pb.Layer.ValueType(each.layer))
            for each in hierarchy
        ],
        timezone=found.timezone,
        population=found.population,
        location=_location(found),
        importance=round(found.importance, 4),
    )


def place_in_full(found: NamedPlace, hierarchy: Sequence[Division]) -> pb.Place:
    """Returns a place with all its names and its cells."""
    message = place(found.place, hierarchy)
    languages = {name: language for language, name in sorted(found.names_by_language.items(), reverse=True)}
    names = dict.fromkeys((found.main_name, *found.alternate_names))
    message.names.extend(pb.PlaceName(name=name, language=languages.get(name) or language_of(name)) for name in names)
    message.names.extend(
        pb.PlaceName(name=name, language=language)
        for language, name in found.names_by_language.items()
        if languages.get(name) != language or name not in names
    )
    message.h3_cells.extend(h3.latlng_to_cell(found.place.lat, found.place.lng, each) for each in _RESOLUTIONS)
    return message


def _location(found: Place) -> Location:
    return Location(lat=found.lat, lng=found.lng)


def _filter(country_codes: Iterable[str], layers: Iterable[int], bbox: BoundingBoxMessage | None) -> PlaceFilter:
    return PlaceFilter(_codes(country_codes), _layers(layers), bbox=None if bbox is None else _bbox(bbox))


def _codes(country_codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({code.upper() for code in country_codes}))


def _layers(layers: Iterable[int]) -> tuple[Layer, ...]:
    """Returns the layers asked for; LAYER_UNSPECIFIED among them asks for all."""
    asked = set(layers)
    return () if 0 in asked else tuple(Layer(layer) for layer in sorted(asked))


def _bbox(message: BoundingBoxMessage) -> BoundingBox:
    return BoundingBox(message.south, message.west, message.north, message.east)
