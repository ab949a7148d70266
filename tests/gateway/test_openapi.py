"""The OpenAPI document says what the protos say."""

import json
from importlib import resources
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from buf.validate import validate_pb2
from gateway.contract import load
from gateway.openapi.comments import read_comments
from gateway.openapi.rules import Target, UnknownRuleError, apply

DOCUMENT: dict[str, Any] = json.loads(resources.files("gateway").joinpath("openapi.json").read_text())


def parameter(path: str, name: str) -> dict[str, Any]:
    found = [each for each in DOCUMENT["paths"][path]["get"]["parameters"] if each["name"] == name]
    assert len(found) == 1
    schema: dict[str, Any] = found[0]
    return schema


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return found


def test_is_valid() -> None:
    validate(DOCUMENT)


def test_every_rest_route_is_an_operation_and_nothing_else_is() -> None:
    routes = {(rest.verb.lower(), rest.template) for rpc in load().rpcs for rest in rpc.rest}
    operations = {(verb, path) for path, verbs in DOCUMENT["paths"].items() for verb in verbs}
    assert operations == routes


def test_every_operation_parameter_and_field_is_described() -> None:
    for path, verbs in DOCUMENT["paths"].items():
        for verb, operation in verbs.items():
            assert operation["description"], f"{verb} {path}"
            assert all(each["description"] for each in operation["parameters"]), f"{verb} {path}"
    for name, each in DOCUMENT["components"]["schemas"].items():
        assert each["description"], name


def test_bounds_become_bounds() -> None:
    lat = parameter("/v1/cells:encode", "lat")
    assert lat["required"]
    assert (lat["schema"]["minimum"], lat["schema"]["maximum"]) == (-90, 90)
    assert lat["description"].startswith("Latitude in degrees north, -90 to 90.")


def test_a_bound_that_is_left_out_stays_left_out() -> None:
    radius = parameter("/v1/airquality/current", "radius_meters")["schema"]
    assert (radius["exclusiveMinimum"], radius["maximum"]) == (0, 100_000)
    assert "minimum" not in radius


def test_a_nested_message_becomes_parameters_with_dots() -> None:
    assert parameter("/v1/geocode", "bbox.south")["schema"]["minimum"] == -90


def test_64_bit_integers_are_strings_in_json_and_numbers_in_a_query() -> None:
    assert schema("IngestReadingsResponse")["properties"]["acceptedCount"]["type"] == "string"
    assert parameter("/v1/places:search", "min_population")["schema"]["type"] == "integer"


def test_rules_across_fields_are_said_in_words() -> None:
    assert "`south` must not be greater than north." in schema("BoundingBox")["description"]


def test_a_field_that_a_reply_always_has_is_required_there() -> None:
    assert set(schema("GeocodeResponse")["required"]) == set(schema("GeocodeResponse")["properties"])
    assert "population" not in schema("Place")["required"]


def test_what_is_secret_or_only_read_is_marked() -> None:
    password = schema("LoginRequest")["properties"]["password"]
    assert (password["writeOnly"], password["format"]) == (True, "password")
    assert schema("TokenPair")["properties"]["accessToken"]["readOnly"]


@pytest.mark.parametrize(
    ("verb", "path", "security"),
    [
        ("post", "/v1/auth/login", []),
        ("get", "/v1/geocode", [{}, {"bearer": []}, {"session": []}]),
        ("get", "/v1/auth/me", [{"bearer": ["read:own_data"]}, {"session": ["read:own_data"]}]),
        ("post", "/v1/entities:batch", [{"bearer": ["write:own_data"]}]),
    ],
)
def test_who_may_call_is_what_the_proto_requires(verb: str, path: str, security: list[Any]) -> None:
    operation = DOCUMENT["paths"][path][verb]
    assert operation["security"] == security
    assert ("401" in operation["responses"]) == (security != [] or path == "/v1/auth/login")
    assert ("403" in operation["responses"]) == (bool(security) and {} not in security)


def test_a_refusal_tells_the_limit_and_when_to_come_again() -> None:
    headers = DOCUMENT["paths"]["/v1/geocode"]["get"]["responses"]["429"]["headers"]
    assert {"retry-after", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(headers)


def test_every_error_reply_shows_the_one_form() -> None:
    for path, verbs in DOCUMENT["paths"].items():
        for verb, operation in verbs.items():
            replies = {status: each for status, each in operation["responses"].items() if status >= "400"}
            assert {"400", "429", "500", "503", "504"} <= set(replies), f"{verb} {path}"
            for each in replies.values():
                assert each["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Error"}
                assert "x-request-id" in each["headers"]


def test_an_error_that_an_rpc_names_is_a_reply_of_its_operation() -> None:
    replies = DOCUMENT["paths"]["/v1/airquality/current"]["get"]["responses"]
    assert "NO_DATA_NEARBY" in replies["404"]["description"]


def test_an_example_of_a_comment_is_one_of_the_document() -> None:
    assert parameter("/v1/geocode", "q")["example"] == "Portland, Oregon"
    assert schema("LoginRequest")["properties"]["email"]["examples"] == ["someone@example.org"]
    assert (parameter("/v1/reverse", "lat")["example"], parameter("/v1/reverse", "lng")["example"]) == (
        37.7753,
        -122.4183,
    )


def test_every_example_keeps_the_rules_of_its_place() -> None:
    places: list[tuple[str, dict[str, Any], Any]] = []
    for path, verbs in DOCUMENT["paths"].items():
        for operation in verbs.values():
            found = ((each["name"], each) for each in operation["parameters"] if "example" in each)
            places += [(f"{path} {name}", each["schema"], each["example"]) for name, each in found]
    for name, each in DOCUMENT["components"]["schemas"].items():
        shown = [(f"{name}.{key}", value) for key, value in each.get("properties", {}).items() if "examples" in value]
        places += [(place, value, example) for place, value in shown for example in value["examples"]]
    assert len(places) > 30
    for place, rules, example in places:
        assert OAS31Validator(rules | {"components": DOCUMENT["components"]}).is_valid(example), place


def test_a_rule_that_nobody_foresaw_stops_the_generator() -> None:
    rules = validate_pb2.FieldRules(string=validate_pb2.StringRules(tuuid=True))
    with pytest.raises(UnknownRuleError):
        apply(rules, Target({"type": "string"}))


def test_an_expression_that_few_libraries_read_stops_the_generator() -> None:
    rules = validate_pb2.FieldRules(string=validate_pb2.StringRules(pattern=r"^\p{Greek}+$"))
    with pytest.raises(UnknownRuleError):
        apply(rules, Target({"type": "string"}))


def test_no_comment_in_an_image_without_source() -> None:
    assert read_comments(load().descriptor_set()) == {}
