"""Page tokens: they come back as they went, and nothing else is taken for one."""

import base64
import contextlib
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from geomesh.geocoder.v1.geocoder_pb2 import SearchPlacesRequest
from geomesh.trajectory.v1.trajectory_pb2 import GetTrajectoryRequest
from meshkit import paging
from meshkit.errors import InvalidInput, Reason
from meshkit.paging import PageToken

_QUERY = SearchPlacesRequest(q="spring", page_size=10)
_TIME = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

_VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.datetimes(
        datetime(2, 1, 1),  # noqa: DTZ001 -- the zone comes from `timezones`
        datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-9))]),
    ),
    st.binary(max_size=40),
)
_POSITIONS = st.lists(_VALUES, max_size=6).map(tuple)


def _refused(token: str, query: SearchPlacesRequest = _QUERY, **options: tuple[type, ...]) -> None:
    with pytest.raises(InvalidInput) as refusal:
        PageToken.decode(token, query=query, **options)
    assert refusal.value.reason is Reason.INVALID_PAGE_TOKEN
    assert [each.field for each in refusal.value.violations] == ["page_token"]


def _forged(body: bytes) -> str:
    return paging._text(paging._digest(_QUERY, body) + body)  # noqa: SLF001 -- a forger reads our code


@given(_POSITIONS)
def test_a_position_comes_back_exactly_as_it_went(position: paging.Position) -> None:
    token = PageToken.encode(position, query=_QUERY)
    found = PageToken.decode(token, query=_QUERY)
    assert found == position
    assert found is not None
    assert [type(each) for each in found] == [type(each) for each in position]
    assert PageToken.decode(token, query=_QUERY, types=tuple(type(each) for each in position)) == position


@given(_POSITIONS)
def test_a_token_is_safe_in_a_url(position: paging.Position) -> None:
    assert set(PageToken.encode(position, query=_QUERY)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


def test_the_page_after_the_last_has_no_token_and_no_token_means_the_first_page() -> None:
    assert PageToken.encode(None, query=_QUERY) == ""
    assert PageToken.decode("", query=_QUERY) is None


def test_the_page_size_may_change_from_page_to_page() -> None:
    token = PageToken.encode((1, "a"), query=_QUERY)
    later = SearchPlacesRequest(q="spring", page_size=50, page_token=token)
    assert PageToken.decode(token, query=later) == (1, "a")


@given(_POSITIONS, st.text(st.characters(exclude_categories=["Cs"]), max_size=20).filter(lambda text: text != "spring"))
def test_a_token_of_another_query_is_refused(position: paging.Position, other: str) -> None:
    _refused(PageToken.encode(position, query=SearchPlacesRequest(q=other)), query=_QUERY)


def test_a_token_of_another_kind_of_request_is_refused_though_its_fields_are_the_same() -> None:
    token = PageToken.encode((_TIME,), query=GetTrajectoryRequest())
    _refused(token, query=SearchPlacesRequest())


def test_a_field_that_is_a_message_belongs_to_the_query_too() -> None:
    query = GetTrajectoryRequest(entity_id="a", start_time=Timestamp(seconds=1))
    token = PageToken.encode((_TIME,), query=query)
    query.start_time.seconds = 2
    with pytest.raises(InvalidInput):
        PageToken.decode(token, query=query)


@given(_POSITIONS, st.data())
def test_a_token_with_one_other_character_is_refused(position: paging.Position, data: st.DataObject) -> None:
    token = PageToken.encode(position, query=_QUERY)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(exclude_categories=["Cs"]).filter(lambda character: character != token[place]))
    _refused(token[:place] + other + token[place + 1 :])


@given(_POSITIONS, st.data())
def test_a_token_that_was_cut_off_is_refused(position: paging.Position, data: st.DataObject) -> None:
    token = PageToken.encode(position, query=_QUERY)
    _refused(token[: data.draw(st.integers(1, len(token) - 1))])


@given(st.text(min_size=1))
def test_any_other_text_is_refused(text: str) -> None:
    _refused(text)


@given(st.binary(max_size=200))
def test_a_token_with_our_digest_over_anything_is_either_a_flat_position_or_refused(body: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        found = PageToken.decode(_forged(body), query=_QUERY)
        assert found is not None
        assert all(isinstance(each, int | float | str | datetime | bytes | None) for each in found)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"7",
        b"null",
        b"[[1]]",
        b"[true]",
        b"[9223372036854775808]",
        b"[NaN]",
        b"[Infinity]",
        b"[1e999]",
        b'["a\\u0000b"]',
        b'["\\ud800"]',
        b"[" * 100_000,
        b"[" + b"9" * 5000 + b"]",
        b'[{"time":"2026-01-02T03:04:05"}]',
        b'[{"time":"0001-01-01T00:00:00+14:00"}]',
        b'[{"time":"tomorrow"}]',
        b'[{"time":7}]',
        b'[{"bytes":"\xc3\xa9"}]',
        b'[{"bytes":"a"}]',
        b'[{"bytes":[]}]',
        b"[{}]",
        b'[{"time":"2026-01-02T03:04:05Z","bytes":""}]',
        b"\xff",
    ],
)
def test_a_forged_position_that_no_column_could_be_compared_with_is_refused(body: bytes) -> None:
    _refused(_forged(body))


@pytest.mark.parametrize(
    ("position", "types"),
    [
        (("a",), (int,)),
        ((1,), (str,)),
        ((1,), (float,)),
        ((1.0,), (int,)),
        ((None,), (int,)),
        ((1,), (datetime,)),
        (("2026-01-02T03:04:05Z",), (datetime,)),
        (("a",), (bytes,)),
        ((), (int,)),
        ((1, 2), (int,)),
        ((1,), (int, int)),
        ((_TIME, 1), (int, datetime)),
    ],
)
def test_a_position_of_other_types_or_another_length_is_refused(
    position: paging.Position, types: tuple[type, ...]
) -> None:
    _refused(PageToken.encode(position, query=_QUERY), types=types)


def test_a_type_may_leave_a_choice() -> None:
    for distance in (None, 2.5):
        token = PageToken.encode((distance, "a"), query=_QUERY)
        assert PageToken.decode(token, query=_QUERY, types=(float | None, str)) == (distance, "a")


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 2**63, True, "a\0", datetime(2026, 1, 2), [1], object()],  # noqa: DTZ001 -- that is it
)
def test_a_position_that_could_not_come_back_is_not_handed_out(value: object) -> None:
    with pytest.raises(ValueError, match="no column holds"):
        PageToken.encode((value,), query=_QUERY)  # type: ignore[arg-type]  # callers hand on what the driver gave them


def test_a_token_has_a_bounded_length() -> None:
    with pytest.raises(ValueError, match="longer than 4096"):
        PageToken.encode(("a" * 4000,), query=_QUERY)
    _refused("A" * 5000)


def test_one_token_has_one_spelling() -> None:
    token = PageToken.encode((1,), query=_QUERY)
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for spelling in (token + "=", token + "\n", " " + token, base64.b64encode(raw + b"\xff\xfe").decode()):
        _refused(spelling)
