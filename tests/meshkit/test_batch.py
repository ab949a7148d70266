"""Batches: the bad items are reported by index, the good ones are kept."""

import pytest
from google.rpc import code_pb2, error_details_pb2
from hypothesis import given
from hypothesis import strategies as st

from geomesh.types.v1.types_pb2 import ItemError, Location
from meshkit.batch import partition
from meshkit.errors import InvalidInput, NotFound, Reason

_GOOD = Location(lat=1, lng=2)
_BAD = Location(lat=91, lng=2)


def _violations(error: ItemError) -> list[str]:
    detail = error_details_pb2.BadRequest()
    assert error.status.details[0].Unpack(detail)
    return [each.field for each in detail.field_violations]


def _info(error: ItemError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in error.status.details)
    return info


def test_a_good_batch_is_kept_whole() -> None:
    kept, indices, errors = partition([_GOOD, Location(lat=3, lng=0)])
    assert (kept, indices, errors) == ([_GOOD, Location(lat=3, lng=0)], [0, 1], [])


def test_a_bad_item_is_named_by_its_index_and_its_own_fields_and_the_others_are_kept() -> None:
    kept, indices, errors = partition([_GOOD, Location(lat=91, lng=181), _GOOD])
    assert (kept, indices) == ([_GOOD, _GOOD], [0, 2])
    (error,) = errors
    assert (error.index, error.status.code) == (1, code_pb2.INVALID_ARGUMENT)
    assert _violations(error) == ["lat", "lng"]
    assert (_info(error).reason, _info(error).domain) == ("INVALID_FIELD", "geomesh")


def test_what_no_rule_can_say_is_refused_in_the_same_form() -> None:
    def check(item: Location) -> None:
        if item.lng == 2:
            raise NotFound(Reason.PLACE_NOT_FOUND, "nothing is there")

    kept, indices, errors = partition([_GOOD, Location(lat=0, lng=3)], check)
    assert (kept, indices) == ([Location(lat=0, lng=3)], [1])
    assert (errors[0].index, errors[0].status.code) == (0, code_pb2.NOT_FOUND)
    assert _info(errors[0]).reason == "PLACE_NOT_FOUND"


def test_the_check_sees_only_items_that_keep_the_rules() -> None:
    seen: list[Location] = []
    partition([_BAD, _GOOD, _BAD], seen.append)
    assert seen == [_GOOD]


def test_a_defect_in_the_check_is_no_fault_of_the_item() -> None:
    def check(item: Location) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        partition([_GOOD], check)


def test_the_index_counts_over_the_whole_stream() -> None:
    _, indices, errors = partition([_GOOD, _BAD], offset=1000)
    assert (indices, [each.index for each in errors]) == ([1000], [1001])


def test_an_empty_batch_has_neither() -> None:
    assert partition([]) == ([], [], [])


@given(st.lists(st.sampled_from(["good", "rule", "check"])), st.integers(0, 10**6))
def test_every_item_is_either_kept_or_refused_in_order(kinds: list[str], offset: int) -> None:
    items = {"good": _GOOD, "rule": _BAD, "check": Location(lat=5)}

    def check(item: Location) -> None:
        if item.lat == 5:
            raise InvalidInput("lat", "must not be 5")

    kept, indices, errors = partition((items[kind] for kind in kinds), check, offset=offset)
    assert indices == [offset + place for place, kind in enumerate(kinds) if kind == "good"]
    assert [each.index for each in errors] == [offset + place for place, kind in enumerate(kinds) if kind != "good"]
    assert len(kept) == len(indices)
