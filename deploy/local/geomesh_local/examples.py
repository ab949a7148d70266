"""What to try first, with the answers that the mesh gives right now."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from geomesh_local.errors import StackError
from geomesh_local.stack import Stack

_SMOKE = "2020-08-20T02:00:00Z"  # in the committed AirNow sample, with smoke over the west coast
_VESSEL = "mmsi-368027230"  # the ferry Suquamish, in the committed AIS sample
_ANSWER_SECONDS = 10.0

MISSING = "no"
"""What stands before the name of a part that an answer does not have."""


@dataclass(frozen=True, slots=True)
class Example:
    """A GET request and the parts of its answer that say most.

    Attributes:
        path: The path.
        query: The parameters, as a person would write them.
        shown: Where those parts are, as in `results.0.place.name`.
        signed_in: Whether it is sent with an access token.
    """

    path: str
    query: Mapping[str, str]
    shown: tuple[str, ...]
    signed_in: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """A command that a person can paste, and the answer that it got."""

    command: str
    gist: str


EXAMPLES = (
    Example("/v1/geocode", {"q": "ミュンヘン"}, ("results.0.place.displayName", "results.0.location")),
    Example("/v1/places:search", {"q": "Copenhagn"}, ("results.0.place.displayName", "results.0.similarity")),
    Example("/v1/places:autocomplete", {"q": "san fr"}, ("results.0.place.displayName", "results.1.place.displayName")),
    Example("/v1/reverse", {"lat": "47.5596", "lng": "7.5886"}, ("results.0.place.displayName", "countryCode")),
    Example(
        "/v1/cells:encode",
        {"lat": "37.7752702151959", "lng": "-122.418307270836", "resolution": "9"},
        ("cells.0.cell",),
    ),
    Example(
        "/v1/airquality/current",
        {"lat": "37.77", "lng": "-122.42", "at": _SMOKE},
        ("index.index", "index.indexVersion", "index.value", "index.category.name", "index.dominantPollutant"),
    ),
    Example(
        "/v1/airquality/current",
        {"q": "Portland, Oregon", "at": _SMOKE},
        ("place", "index.value", "index.category.name", "index.dominantPollutant"),
    ),
    Example(f"/v1/trajectories/{_VESSEL}:summary", {}, ("positionCount", "lengthMeters", "movingDuration")),
    Example("/v1/auth/me", {}, ("roles", "permissions"), signed_in=True),
)


def answers(stack: Stack) -> Iterator[Answer]:
    """Sends every example through the edge and yields what came back.

    Raises:
        StackError: if the edge or what stands behind it answers with an error.
    """
    login = {"email": "admin@localhost", "password": stack.administrator_password_path.read_text().strip()}
    # From a loopback address of this run's own: what 127.0.0.1 may call in an hour is for whoever tries.
    place = os.getpid()
    transport = httpx.HTTPTransport(local_address=f"127.77.{place >> 8 & 255}.{place & 255}", verify=stack.edge_trust)
    with httpx.Client(base_url=stack.edge_url, timeout=_ANSWER_SECONDS, transport=transport) as client:
        tokens = _parsed(client.post("/v1/auth/login", json=login))
        yield Answer(_login_command(stack), _gist(tokens, ("tokenType", "expiresInSeconds")))
        for example in EXAMPLES:
            headers = {"authorization": f"Bearer {tokens['accessToken']}"} if example.signed_in else {}
            answer = _parsed(client.get(example.path, params=dict(example.query), headers=headers))
            yield Answer(_command(stack, example), _gist(answer, example.shown))


def _login_command(stack: Stack) -> str:
    body = f'{{\\"email\\": \\"admin@localhost\\", \\"password\\": \\"$(cat {stack.administrator_password_path})\\"}}'
    reader = 'import json, sys; print(json.load(sys.stdin)["accessToken"])'
    return (
        f"TOKEN=$({_curl(stack)} -s {stack.edge_url}/v1/auth/login -H 'content-type: application/json' \\\n"
        f'      -d "{body}" \\\n'
        f"      | python3 -c '{reader}')"
    )


def _curl(stack: Stack) -> str:
    return f"curl --cacert {stack.certificate('ca')}" if stack.tls else "curl"


def _command(stack: Stack, example: Example) -> str:
    url = f"{stack.edge_url}{example.path}" + (f"?{urlencode(example.query)}" if example.query else "")
    return f"{_curl(stack)} '{url}'" + (' -H "authorization: Bearer $TOKEN"' if example.signed_in else "")


def _parsed(response: httpx.Response) -> Any:
    if not response.is_success:
        raise StackError(f"{response.request.url} answered {response.status_code}: {response.text[:500]}")
    return response.json()


def _gist(answer: Any, shown: tuple[str, ...]) -> str:
    return ", ".join(_shown(answer, path) for path in shown)


def _shown(answer: Any, path: str) -> str:
    """Returns a part of an answer with its name, or says that it is missing: an answer is shown, whatever it is."""
    part = answer
    for key in path.split("."):
        try:
            part = part[int(key)] if isinstance(part, list) else part[key]
        except (LookupError, TypeError, ValueError):
            return f"{MISSING} {path}"
    name = path.rpartition(".")[2]
    if isinstance(part, dict):
        return f"{name} " + ", ".join(_short(value) for value in part.values())
    if isinstance(part, list):
        return f"{name} " + " ".join(_short(value) for value in part)
    return f"{name} {_short(part)}"


def _short(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
