"""A glance must never let pass what protovalidate refuses, and is of no use unless it lets most valid requests pass."""

import importlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given, settings
from hypothesis import strategies as st

from buf.validate import validate_pb2
from geomesh.airquality.v1.airquality_pb2 import ComputeIndexRequest
from geomesh.auth.v1.auth_pb2 import ListSessionsRequest, RefreshTokenRequest
from geomesh.geocoder.v1.geocoder_pb2 import LAYER_LOCALITY, ReverseGeocodeRequest
from geomesh.spatial_index.v1 import spatial_index_pb2 as pb
from geomesh.types.v1.types_pb2 import Location
from meshkit.glance import glance_of
from meshkit.validation import VALIDATOR

SERVICES = ("auth", "geocoder", "spatial_index", "trajectory", "airquality")
DEPTH = 3
"""Messages within messages are filled so far down."""
LONGEST = 70
"""Characters and items; longer ones than the rules allow are tried where they allow fewer."""


EVERY_RULE = """
name: "geomesh/tests/glance.proto" package: "geomesh.tests" syntax: "proto3" dependency: "buf/validate/validate.proto"
enum_type { name: "Kind" value { name: "KIND_UNSPECIFIED" number: 0 } value { name: "KIND_ONE" number: 1 } }
message_type { name: "Inner"
  oneof_decl { name: "_x" }
  field { name: "x" number: 1 type: TYPE_DOUBLE label: LABEL_OPTIONAL oneof_index: 0 proto3_optional: true
    options { [buf.validate.field] { double { gt: 0 lt: 1 } } } } }
message_type { name: "EveryRule"
  oneof_decl { name: "either" } oneof_decl { name: "_outside" } oneof_decl { name: "_chosen" }
  field { name: "inner" number: 1 type: TYPE_MESSAGE type_name: ".geomesh.tests.Inner" label: LABEL_OPTIONAL }
  field { name: "few" number: 2 type: TYPE_INT32 label: LABEL_REPEATED
    options { [buf.validate.field] { repeated { max_items: 3 items { int32 { gt: -2 lt: 5 } } } } } }
  field { name: "kind" number: 3 type: TYPE_ENUM type_name: ".geomesh.tests.Kind" label: LABEL_OPTIONAL
    options { [buf.validate.field] { required: true enum { defined_only: true } } } }
  field { name: "above" number: 4 type: TYPE_UINT32 label: LABEL_OPTIONAL
    options { [buf.validate.field] { uint32 { lt: 9 } } } }
  field { name: "part" number: 5 type: TYPE_FLOAT label: LABEL_OPTIONAL
    options { [buf.validate.field] { float { gte: 0 lt: 0.1 } } } }
  field { name: "outside" number: 6 type: TYPE_DOUBLE label: LABEL_OPTIONAL oneof_index: 1 proto3_optional: true
    options { [buf.validate.field] { double { gt: 10 lt: -10 } } } }
  field { name: "inners" number: 7 type: TYPE_MESSAGE type_name: ".geomesh.tests.Inner" label: LABEL_REPEATED
    options { [buf.validate.field] { repeated { max_items: 2 } } } }
  field { name: "finite" number: 8 type: TYPE_DOUBLE label: LABEL_OPTIONAL
    options { [buf.validate.field] { double { finite: true } } } }
  field { name: "names" number: 9 type: TYPE_STRING label: LABEL_REPEATED
    options { [buf.validate.field] { repeated { unique: true } } } }
  field { name: "lengths" number: 10 type: TYPE_STRING label: LABEL_REPEATED
    options { [buf.validate.field] { repeated { items { string { min_len: 1 max_len: 3 } } } } } }
  field { name: "chosen" number: 11 type: TYPE_INT64 label: LABEL_OPTIONAL oneof_index: 2 proto3_optional: true
    options { [buf.validate.field] { int64 { in: [1, 3] } } } }
  field { name: "code" number: 12 type: TYPE_STRING label: LABEL_OPTIONAL
    options { [buf.validate.field] { ignore: IGNORE_IF_ZERO_VALUE string { min_len: 2 } } } }
  field { name: "left" number: 13 type: TYPE_INT32 label: LABEL_OPTIONAL oneof_index: 0
    options { [buf.validate.field] { int32 { gte: 1 } } } }
  field { name: "right" number: 14 type: TYPE_BOOL label: LABEL_OPTIONAL oneof_index: 0
    options { [buf.validate.field] { bool { const: true } } } } }
"""
descriptor_pool.Default().AddSerializedFile(text_format.Parse(EVERY_RULE, FileDescriptorProto()).SerializeToString())
EveryRule = GetMessageClass(descriptor_pool.Default().FindMessageTypeByName("geomesh.tests.EveryRule"))
USUAL = [
    pb.EncodeLocationRequest(lat=37.8, lng=-122.4, resolution=[0, 9, 15]),
    pb.EncodeLocationRequest(lat=-90, lng=180),
    pb.EncodeLocationRequest(lat=0, lng=0, geohash_precision=12, plus_code_length=11),
    pb.BatchEncodeLocationsRequest(locations=[Location(lat=1, lng=2)] * 1000, resolution=[9]),
    pb.GetCellRequest(cell="8928308280fffff"),
    pb.GridDiskRequest(cell="8928308280fffff", k=2, shape=pb.DISK_SHAPE_RING),
    pb.FindNearbyRequest(lat=1, lng=2, limit=10),
    ReverseGeocodeRequest(lat=1, lng=2, layers=[LAYER_LOCALITY]),
    RefreshTokenRequest(refresh_token="a" * 43),
    ListSessionsRequest(page_size=10),
    EveryRule(
        inner={"x": 0.5},
        few=[-1, 0, 4],
        kind=1,
        above=8,
        part=0.05,
        inners=[{"x": 0.1}, {}],
        finite=1,
        lengths=["a", "🌍🌍🌍"],
        left=1,
    ),
    EveryRule(kind=1, above=0, chosen=3),
]
GOOD = {type(each): [other for other in USUAL if type(other) is type(each)] for each in USUAL}


def requests() -> Iterator[type[Message]]:
    """Yields the type of every request, and of the items in batches, which are held against their rules one by one."""
    seen = {}
    for name in SERVICES:
        module = importlib.import_module(f"geomesh.{name}.v1.{name}_pb2")
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                seen[method.input_type.full_name] = method.input_type
                seen |= {each.full_name: each for each in batches(method.input_type)}
    yield EveryRule
    yield from (GetMessageClass(each) for each in seen.values() if not each.full_name.startswith("google."))


def batches(request: Descriptor) -> list[Descriptor]:
    return [each.message_type for each in request.fields if each.is_repeated and each.message_type is not None]


def glance(kind: type[Message]) -> Any:
    wrong = {
        each.proto.field.elements[0].field_name for each in VALIDATOR.collect_violations(kind()) if each.proto.field
    }
    return glance_of(kind, wrong)


def numbers_of(rules: Message) -> list[float]:
    """Returns every number that a rule names, with its neighbours."""
    found: list[float] = []
    for field, value in rules.ListFields():
        for each in value if field.is_repeated else [value]:
            if isinstance(each, Message):
                found += numbers_of(each)
            elif isinstance(each, int | float) and not isinstance(each, bool):
                found += [each - 1, each, each + 1, math.nextafter(each, -math.inf), math.nextafter(each, math.inf)]
    return found


def value(field: FieldDescriptor, named: list[float], depth: int) -> st.SearchStrategy[Any] | None:
    """Returns what draws one value of a field, right ones and wrong ones; None for a kind that is left unset."""
    whole = sorted({int(each) for each in [*named, 0] if -(2**31) <= each < 2**31})
    if field.message_type is not None:
        fillable = depth and not field.message_type.GetOptions().map_entry
        return message(GetMessageClass(field.message_type), depth - 1) if fillable else None
    if field.enum_type is not None:
        return st.sampled_from([*(each.number for each in field.enum_type.values), 99])
    lengths = st.sampled_from([0, 1, *(each for each in whole if 0 <= each <= LONGEST)])
    texts = st.sampled_from(["FR", "us_epa", "a b", "8928308280fffff", "pm25"])
    floats = st.sampled_from([*named, 0.0, -0.0, 0.5, math.nan, math.inf, -math.inf])
    signed = st.sampled_from([*whole, 2**31 - 1, -(2**31)])
    unsigned = st.sampled_from([each for each in whole if each >= 0])
    drawn: dict[int, st.SearchStrategy[Any]] = {
        FieldDescriptor.TYPE_DOUBLE: floats,
        FieldDescriptor.TYPE_FLOAT: floats,
        FieldDescriptor.TYPE_INT32: signed,
        FieldDescriptor.TYPE_INT64: signed,
        FieldDescriptor.TYPE_UINT32: unsigned,
        FieldDescriptor.TYPE_UINT64: unsigned,
        FieldDescriptor.TYPE_BOOL: st.booleans(),
        FieldDescriptor.TYPE_STRING: texts | lengths.flatmap(lambda size: st.sampled_from(["a" * size, "🌍" * size])),
    }
    return drawn.get(field.type)


def filled(field: FieldDescriptor, depth: int) -> st.SearchStrategy[Any] | None:
    rules = field.GetOptions().Extensions[validate_pb2.field]
    if not field.is_repeated:
        return value(field, numbers_of(rules), depth)
    one = value(field, numbers_of(rules.repeated.items), depth)
    counts = {0, 1, 2, rules.repeated.min_items, rules.repeated.max_items, rules.repeated.max_items + 1}
    sizes = sorted(each for each in counts if each <= LONGEST)
    if one is None:
        return None
    return st.sampled_from(sizes).flatmap(lambda size: st.lists(one, min_size=size, max_size=size))


@st.composite
def message(draw: st.DrawFn, kind: type[Message], depth: int = DEPTH) -> Message:
    """Draws any message, or one that keeps its rules with one or two fields of any value."""
    made = kind()
    descriptor: Any = kind.DESCRIPTOR  # the published types have two classes for it
    fields: list[FieldDescriptor] = list(descriptor.fields)
    if kind in GOOD and depth == DEPTH and draw(st.booleans()):
        made.CopyFrom(draw(st.sampled_from(GOOD[kind])))
        fields = draw(st.lists(st.sampled_from(fields), min_size=1, max_size=2))
    for field in fields:
        drawn = filled(field, depth)
        if drawn is None or not draw(st.sampled_from([True, True, False])):
            continue
        one = draw(drawn)
        made.ClearField(field.name)
        if field.is_repeated:
            getattr(made, field.name).extend(one)
        elif isinstance(one, Message):
            getattr(made, field.name).CopyFrom(one)
        elif field.cpp_type != FieldDescriptor.CPPTYPE_FLOAT or not math.isfinite(one) or abs(one) < 3e38:
            setattr(made, field.name, one)
    return made


@pytest.mark.parametrize("kind", [each for each in requests() if glance(each)], ids=lambda each: each.__name__)
def test_what_passes_at_a_glance_breaks_no_rule(kind: type[Message]) -> None:
    look = glance(kind)

    @settings(max_examples=1000 if kind is EveryRule else 150, deadline=None, database=None)
    @given(message(kind))
    def agree(made: Message) -> None:
        if look(made):
            assert not VALIDATOR.collect_violations(made), made

    agree()


@pytest.mark.parametrize("request_", USUAL, ids=lambda each: type(each).__name__)
def test_usual_requests_pass_at_a_glance(request_: Message) -> None:
    assert not VALIDATOR.collect_violations(request_)
    assert glance(type(request_))(request_)


@pytest.mark.parametrize(
    "request_",
    [
        pb.EncodeLocationRequest(lng=1),
        pb.EncodeLocationRequest(lat=math.nan, lng=1),
        pb.EncodeLocationRequest(lat=math.nextafter(90, 91), lng=1),
        pb.EncodeLocationRequest(lat=1, lng=math.inf),
        pb.EncodeLocationRequest(lat=1, lng=1, resolution=[9, 16]),
        pb.EncodeLocationRequest(lat=1, lng=1, resolution=[9] * 17),
        pb.EncodeLocationRequest(lat=1, lng=1, geohash_precision=0),
        pb.EncodeLocationRequest(lat=1, lng=1, plus_code_length=9),
        pb.BatchEncodeLocationsRequest(),
        pb.GetCellRequest(),
        pb.GridDiskRequest(cell="8928308280fffff", k=1, shape=99),  # type: ignore[arg-type]  # a newer client's
        pb.FindNearbyRequest(lat=1, lng=2, limit=-1),
        ComputeIndexRequest(),
    ],
    ids=str,
)
def test_a_request_that_breaks_a_rule_does_not_pass_at_a_glance(request_: Message) -> None:
    assert VALIDATOR.collect_violations(request_)
    assert not glance(type(request_))(request_)


def test_what_is_not_understood_is_left_to_protovalidate() -> None:
    with_pattern = pb.FindNearbyRequest(lat=1, lng=2, type=["vessel"])
    assert not VALIDATOR.collect_violations(with_pattern)
    assert not glance(pb.FindNearbyRequest)(with_pattern)


def test_a_message_with_a_rule_of_several_fields_has_no_glance() -> None:
    assert glance(pb.FindWithinRequest) is None
