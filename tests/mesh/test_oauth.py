"""The endpoints of OAuth 2.0 as its libraries use them: found by discovery, asked with forms, answered in its own words."""

import base64
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from meshkit.development_ca import AUTHORITY
from tests.mesh.test_tokens import authorization, create_user
from tests.running_mesh import Mesh

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def rest(mesh: Mesh) -> Iterator[httpx.Client]:
    """A REST client that says nothing of itself."""
    with httpx.Client(base_url=mesh.base_url, timeout=40, verify=mesh.stack.edge_trust) as client:
        yield client


@pytest.fixture
def program(mesh: Mesh, rest: httpx.Client) -> tuple[str, str]:
    """Id and secret of a service account."""
    body = {"displayName": "nightly import", "role": "premium"}
    answer = rest.post("/v1/auth/serviceAccounts", json=body, headers=authorization(mesh.token("tenant_admin")))
    made = answer.raise_for_status().json()
    return made["serviceAccount"]["serviceAccountId"], made["clientSecret"]


@pytest.fixture
def endpoints(mesh: Mesh, rest: httpx.Client) -> dict[str, str]:
    """Where discovery says that they are, on this mesh."""
    told = rest.get("/.well-known/openid-configuration").raise_for_status().json()
    return {
        name: mesh.base_url + urlsplit(url).path
        for name, url in told.items()
        if name in {"token_endpoint", "introspection_endpoint"}
    }


def library(mesh: Mesh, program: tuple[str, str], **options: Any) -> OAuth2Session:
    """Returns Authlib's client, which knows nothing of geomesh."""
    session = OAuth2Session(*program, default_timeout=40, **options)
    session.verify = str(mesh.stack.certificate(AUTHORITY)) if mesh.stack.tls else True
    return session


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_library_gets_and_uses_a_token(
    mesh: Mesh, program: tuple[str, str], endpoints: dict[str, str], method: str
) -> None:
    with library(mesh, program, token_endpoint_auth_method=method, scope="read:own_data") as client:
        token = client.fetch_token(endpoints["token_endpoint"], grant_type="client_credentials")
        assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 900, "read:own_data")
        who = client.get(f"{mesh.base_url}/v1/auth/me")
        who.raise_for_status()
        assert who.json()["roles"] == ["premium"]


def test_a_library_refreshes_a_session(mesh: Mesh, rest: httpx.Client, endpoints: dict[str, str]) -> None:
    email, password = create_user(mesh, "oauth")
    pair = rest.post("/v1/auth/login", json={"email": email, "password": password}).raise_for_status().json()
    with library(mesh, ("", ""), token_endpoint_auth_method="none") as client:
        before = pair["refreshToken"]
        token = client.refresh_token(endpoints["token_endpoint"], before)
        assert token["refresh_token"] != before
        assert token["refresh_expires_in"] > token["expires_in"] == 900
        again = client.refresh_token(endpoints["token_endpoint"], token["refresh_token"])
        assert again["access_token"] != token["access_token"]
        with pytest.raises(OAuthError) as caught:
            client.refresh_token(endpoints["token_endpoint"], "made-up")
        assert caught.value.error == "invalid_grant"


def test_a_library_looks_at_a_token(
    mesh: Mesh, program: tuple[str, str], rest: httpx.Client, endpoints: dict[str, str]
) -> None:
    with library(mesh, program) as client:
        token = client.fetch_token(endpoints["token_endpoint"], grant_type="client_credentials")
        asked = {"token": token["access_token"], "token_type_hint": "access_token"}
        bearer = authorization(token["access_token"])
        told = rest.post(endpoints["introspection_endpoint"], data=asked, headers=bearer).raise_for_status().json()
        assert told["active"] is True
        assert told["client_id"] == program[0]
    answer = rest.post(endpoints["introspection_endpoint"], data=asked)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_nothing_keeps_a_token(rest: httpx.Client, program: tuple[str, str]) -> None:
    form = {"grant_type": "client_credentials", "client_id": program[0], "client_secret": program[1]}
    answer = rest.post("/oauth2/token", data=form).raise_for_status()
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"access_token", "token_type", "expires_in", "scope"}


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@pytest.mark.parametrize(
    ("body", "headers", "status", "error", "says"),
    [
        ("", {}, 400, "invalid_request", "grant_type"),
        ("grant_type=", {}, 400, "invalid_request", "grant_type"),
        ("grant_type=password&username=a&password=b", {}, 400, "unsupported_grant_type", "grant_type"),
        ("grant_type=client_credentials", {}, 400, "invalid_request", "client_id"),
        ("grant_type=client_credentials&client_id=x&client_secret=y", {}, 401, "invalid_client", "unknown"),
        ("grant_type=client_credentials", basic("x", "y"), 401, "invalid_client", "unknown"),
        ("grant_type=client_credentials&client_id=z", basic("x", "y"), 400, "invalid_request", "one way"),
        ("grant_type=client_credentials&client_secret=y", basic("x", "y"), 400, "invalid_request", "one way"),
        ("grant_type=client_credentials", {"authorization": "Basic !!!"}, 400, "invalid_request", "authorization"),
        ("grant_type=client_credentials", {"authorization": "Basic"}, 400, "invalid_request", "client_id"),
        ("grant_type=a&grant_type=a", {}, 400, "invalid_request", "twice"),
        ("grant_type=%zz", {}, 400, "invalid_request", "percent-encoded"),
        ("grant_type=refresh_token", {}, 400, "invalid_request", "refresh_token"),
        ("grant_type=refresh_token&refresh_token=made-up", {}, 400, "invalid_grant", ""),
        ('{"grant_type": "client_credentials"}', {"content-type": "application/json"}, 400, "invalid_request", FORM),
        ("grant_type=client_credentials&client_id=%FF%FE&client_secret=y", {}, 400, "invalid_request", ""),
        ("grant_type=client_credentials&client_id=x&client_secret=" + "y" * 300, {}, 400, "invalid_request", "secret"),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_the_standard(
    rest: httpx.Client, body: str, headers: dict[str, str], status: int, error: str, says: str
) -> None:
    answer = rest.post("/oauth2/token", content=body, headers={"content-type": FORM} | headers)
    told = answer.json()
    assert (answer.status_code, told["error"]) == (status, error), told
    assert says in told["error_description"]
    assert set(told) == {"error", "error_description"}
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    assert answer.headers.get("www-authenticate") == ('Basic realm="geomesh"' if error == "invalid_client" else None)


@pytest.mark.parametrize("scope", ["made:up", "read:public_data manage:mesh"])
def test_a_scope_beyond_the_account_is_refused(rest: httpx.Client, program: tuple[str, str], scope: str) -> None:
    form = {"grant_type": "client_credentials", "scope": scope}
    answer = rest.post("/oauth2/token", data=form, headers=basic(*program))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    "text", ['"', "\\", "\\u0000", "\x00", "\n", "'; DROP TABLE x; --", "ü€😀", '","grant_type":"api_key']
)
def test_no_letter_breaks_out_of_its_member(rest: httpx.Client, text: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": text, "client_secret": text}
    answer = rest.post("/oauth2/token", data=form)
    assert answer.status_code in {400, 401}, answer.text
    assert answer.json()["error"] in {"invalid_client", "invalid_request"}
    assert answer.text.isascii()


def test_only_post_is_answered(rest: httpx.Client) -> None:
    answer = rest.get("/oauth2/token")
    assert (answer.status_code, answer.json()["error"]) == (405, "invalid_request")
    assert answer.json()["error_description"] == "the method must be POST"


def test_a_huge_form_is_refused(rest: httpx.Client) -> None:
    answer = rest.post("/oauth2/token", data={"grant_type": "x" * 20_000_000})
    assert answer.status_code == 413


def test_other_paths_there_are_not_found(rest: httpx.Client) -> None:
    answer = rest.post("/oauth2/authorize", data={"grant_type": "x"})
    assert (answer.status_code, answer.json()["code"]) == (404, 5)
