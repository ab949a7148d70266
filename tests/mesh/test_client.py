"""The Python client before a real mesh, and the examples of its page."""

import asyncio
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from geomesh.auth.v1 import auth_pb2
from geomesh.geocoder.v1 import geocoder_pb2
from geomesh.spatial_index.v1 import spatial_index_pb2
from geomesh_client import (
    AccessToken,
    Client,
    InvalidRequest,
    NotFound,
    Password,
    RefreshToken,
    Tokens,
    Unauthenticated,
    Unavailable,
)
from geomesh_local.stack import CHECKOUT
from tests.client.installing import build_wheels, install
from tests.running_mesh import Mesh

if TYPE_CHECKING:
    from geomesh.auth.v1.auth_pb2_grpc import AuthServiceAsyncStub

PAGE = (CHECKOUT / "docs" / "client.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
WHO = auth_pb2.WhoAmIRequest()


@dataclass
class Counted:
    """Signs in with a password, counts how often, and returns what the test makes of the tokens."""

    password: Password
    access: str = ""
    renew_at: float = float("inf")
    begun: int = 0
    given: list[Tokens] = field(default_factory=list)

    async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
        self.begun += 1
        tokens = await self.password.begin(auth)
        self.given.append(tokens)
        return Tokens(self.access or tokens.access, tokens.refresh, self.renew_at)


@pytest.fixture
def administrator(mesh: Mesh) -> Password:
    return Password(*mesh.administrator)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's Python, which has the client's wheels and nothing of this checkout."""
    return install(tmp_path_factory.mktemp("user"), build_wheels(tmp_path_factory.mktemp("wheels")))


@pytest.mark.parametrize(("code", "printed"), EXAMPLES)
def test_an_example_prints_what_the_page_says(mesh: Mesh, python: Path, code: str, printed: str) -> None:
    email, password = mesh.administrator
    where = {"GEOMESH_URL": mesh.base_url, "GEOMESH_EMAIL": email, "GEOMESH_PASSWORD": password}
    command = [str(python), "-I", "-W", "error", "-c", code]
    ran = subprocess.run(command, env=os.environ | where, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.stdout, ran.stderr) == (printed, "")


def test_every_example_of_the_page_is_run() -> None:
    assert len(EXAMPLES) == PAGE.count("```python") >= 5


async def test_many_calls_at_once_sign_in_once(mesh: Mesh, administrator: Password) -> None:
    credentials = Counted(administrator)
    async with Client(mesh.base_url, credentials) as client:
        callers = await asyncio.gather(*(client.auth.WhoAmI(WHO) for _ in range(50)))
    assert credentials.begun == 1
    assert {each.tenant for each in callers} == {"public"}


async def test_what_is_open_to_anyone_does_not_sign_in(mesh: Mesh, administrator: Password) -> None:
    credentials = Counted(administrator)
    async with Client(mesh.base_url, credentials) as client:
        await client.auth.GetJwks(auth_pb2.GetJwksRequest())
    assert credentials.begun == 0


async def test_a_token_that_is_about_to_end_is_renewed_without_signing_in_again(
    mesh: Mesh, administrator: Password
) -> None:
    credentials = Counted(administrator, renew_at=0.0)
    async with Client(mesh.base_url, credentials) as client:
        await client.auth.WhoAmI(WHO)
        await asyncio.gather(*(client.auth.WhoAmI(WHO) for _ in range(20)))
    assert credentials.begun == 1


async def test_a_refused_token_is_renewed_and_the_call_repeated(mesh: Mesh, administrator: Password) -> None:
    credentials = Counted(administrator, access="not.a.token")
    async with Client(mesh.base_url, credentials) as client:
        callers = await asyncio.gather(*(client.auth.WhoAmI(WHO) for _ in range(20)))
    assert credentials.begun == 1
    assert len(callers) == 20


async def test_signs_in_again_when_the_session_is_over(mesh: Mesh, administrator: Password) -> None:
    @dataclass
    class Ended(Counted):
        async def begin(self, auth: "AuthServiceAsyncStub") -> Tokens:
            tokens = await super().begin(auth)
            return tokens if self.begun > 1 else Tokens("not.a.token", "not-a-refresh-token", 0.0)

    credentials = Ended(administrator)
    async with Client(mesh.base_url, credentials) as client:
        await client.auth.WhoAmI(WHO)
        await client.auth.WhoAmI(WHO)
    assert credentials.begun == 2


async def test_goes_on_with_a_session_that_was_begun_elsewhere(mesh: Mesh, administrator: Password) -> None:
    async with Client(mesh.base_url) as client:
        tokens = await administrator.begin(client.auth)
    async with Client(mesh.base_url, RefreshToken(tokens.refresh)) as client:
        assert (await client.auth.WhoAmI(WHO)).tenant == "public"
    async with Client(mesh.base_url, AccessToken(tokens.access)) as client:
        assert (await client.auth.WhoAmI(WHO)).tenant == "public"


async def test_says_that_a_password_is_wrong(mesh: Mesh) -> None:
    async with Client(mesh.base_url, Password(mesh.administrator[0], "wrong")) as client:
        with pytest.raises(Unauthenticated) as refused:
            await client.auth.WhoAmI(WHO)
    assert refused.value.reason == "LOGIN_FAILED"
    assert refused.value.request_id


async def test_errors_are_of_the_kind_that_they_are(mesh: Mesh) -> None:
    async with Client(mesh.base_url) as client:
        with pytest.raises(NotFound) as absent:
            await client.geocoder.GetPlace(geocoder_pb2.GetPlaceRequest(place_id="nowhere.1"))
        with pytest.raises(InvalidRequest) as invalid:
            await client.spatial_index.GetCell(spatial_index_pb2.GetCellRequest(cell="zzz"))
        with pytest.raises(Unauthenticated) as nobody:
            await client.auth.WhoAmI(WHO)
    assert absent.value.reason == "PLACE_NOT_FOUND"
    assert [each.field for each in invalid.value.violations] == ["cell"]
    assert nobody.value.reason == "TOKEN_MISSING"


async def test_a_read_outlasts_a_service_that_starts_again(mesh: Mesh) -> None:
    async with Client(mesh.base_url, timeout_seconds=30, attempts=30) as client:
        request = geocoder_pb2.GetPlaceRequest(place_id="geonames.2867714")
        await client.geocoder.GetPlace(request)
        for program in mesh.programs["geocoder"]:
            mesh.kill(program)
        assert (await client.geocoder.GetPlace(request)).name == "Munich"


async def test_says_that_nobody_answers_when_the_time_is_over(mesh: Mesh) -> None:
    async with Client("http://127.0.0.1:1", timeout_seconds=2, attempts=2) as client:
        with pytest.raises(Unavailable):
            await client.geocoder.GetPlace(geocoder_pb2.GetPlaceRequest(place_id="geonames.2867714"))
