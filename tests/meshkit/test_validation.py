"""The rules of a request, and what a refusal names."""

import time

import pytest
from google.protobuf.message import Message

from geomesh.airquality.v1.airquality_pb2 import ListStationsRequest
from geomesh.geocoder.v1.geocoder_pb2 import GeocodeRequest
from geomesh.spatial_index.v1.spatial_index_pb2 import BatchEncodeLocationsRequest, FindNearbyRequest
from geomesh.types.v1.types_pb2 import BoundingBox, Location
from meshkit.errors import InvalidInput
from meshkit.validation import validate


def test_a_message_that_keeps_its_rules_passes() -> None:
    validate(FindNearbyRequest(lat=1, lng=2))


def test_every_field_that_breaks_a_rule_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        validate(FindNearbyRequest(lat=91, lng=181, type=["a", ""]))
    assert [each.field for each in refused.value.violations] == ["lat", "lng", "type[1]"]


def test_of_many_violations_the_first_are_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        validate(GeocodeRequest(q="Paris", country_codes=["XXX"] * 40))
    assert [each.field for each in refused.value.violations] == [f"country_codes[{index}]" for index in range(20)]


def test_a_large_message_full_of_violations_is_refused_at_once() -> None:
    request = BatchEncodeLocationsRequest(locations=[Location()], resolution=[99] * 50_000)
    started = time.monotonic()
    with pytest.raises(InvalidInput) as refused:
        validate(request)
    assert time.monotonic() - started < 1
    assert [each.field for each in refused.value.violations] == ["resolution"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (GeocodeRequest(q="Paris", focus_lat=1), "focus_lng"),
        (GeocodeRequest(q="Paris", focus_lng=1), "focus_lat"),
        (ListStationsRequest(bbox=BoundingBox(south=2, west=0, north=1, east=1)), "bbox.south"),
    ],
)
def test_a_rule_about_several_fields_names_the_one_to_change(request_: Message, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        validate(request_)
    assert [each.field for each in refused.value.violations] == [field]
