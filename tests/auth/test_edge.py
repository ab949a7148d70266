"""Accounts and administration over REST, through a real Envoy."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pyotp
import pytest

from tests.auth.conftest import EMAIL, PASSWORD, Auth, Start
from tests.gateway.running_edge import running_edge


@pytest.fixture
async def at_edge(start: Start, tmp_path: Path) -> AsyncIterator[tuple[Auth, httpx.AsyncClient]]:
    async with start(sign_up="open") as auth, running_edge(tmp_path, ports_of={"auth": auth.settings.port}) as edge:
        await auth.add()
        await auth.add("root@operator.example", role="system_admin", tenant="public")
        await auth.bearer()
        async with httpx.AsyncClient(base_url=edge.url, timeout=20) as client:
            # Envoy looks whether the service is healthy once a second.
            for _ in range(200):
                if (await client.get("/.well-known/jwks.json")).is_success:
                    break
            yield auth, client


async def bearer(client: httpx.AsyncClient, email: str, **more: str) -> dict[str, str]:
    reply = await client.post("/v1/auth/login", json={"email": email, "password": PASSWORD} | more)
    return {"authorization": f"Bearer {reply.raise_for_status().json()['accessToken']}"}


async def test_an_account_lives_its_life_over_rest(at_edge: tuple[Auth, httpx.AsyncClient]) -> None:
    auth, client = at_edge
    assert (await client.post("/v1/auth/signUp", json={"email": "new@x.example"})).json() == {}
    token = (await auth.mails())[-1].token
    made = await client.post("/v1/auth/signUp:complete", json={"signUpToken": token, "password": PASSWORD})
    assert made.json()["tenantId"].startswith("t-")
    me = await bearer(client, "new@x.example")
    secret = (await client.post("/v1/auth/totp:enrol", json={"password": PASSWORD}, headers=me)).json()["secret"]
    confirmed = await client.post("/v1/auth/totp:confirm", json={"totpCode": pyotp.TOTP(secret).now()}, headers=me)
    assert confirmed.headers["cache-control"] == "no-store"
    recovery, another = confirmed.json()["recoveryCodes"][:2]
    refused = await client.post("/v1/auth/login", json={"email": "new@x.example", "password": PASSWORD})
    assert (refused.status_code, refused.json()["details"][0]["reason"]) == (401, "SECOND_FACTOR_REQUIRED")
    me = await bearer(client, "new@x.example", code=recovery)
    gone = await client.post("/v1/auth/totp:disable", json={"password": PASSWORD, "code": another}, headers=me)
    assert gone.status_code == 200
    new = "another fine staple for horses"
    changed = await client.post(
        "/v1/auth/password:change", json={"oldPassword": PASSWORD, "newPassword": new}, headers=me
    )
    assert changed.status_code == 200
    await client.post("/v1/auth/password:requestReset", json={"email": "new@x.example"})
    token = (await auth.mails())[-1].token
    reset = await client.post("/v1/auth/password:reset", json={"resetToken": token, "newPassword": PASSWORD})
    assert reset.status_code == 200
    await bearer(client, "new@x.example")


async def test_tenants_and_users_are_managed_over_rest(at_edge: tuple[Auth, httpx.AsyncClient]) -> None:
    _auth, client = at_edge
    root = await bearer(client, "root@operator.example")
    made = await client.post("/v1/tenants", json={"tenantId": "new-one", "plan": "premium"}, headers=root)
    assert made.json()["status"] == "ACCOUNT_STATUS_ACTIVE"
    patch = {"limits": {"requestsPerHour": 5}}
    changed = await client.patch("/v1/tenants/new-one", json=patch, headers=root)
    assert changed.json()["limits"] == {"requestsPerHour": 5}
    again = await client.post("/v1/tenants", json={"tenantId": "new-one"}, headers=root)
    assert (again.status_code, again.json()["details"][0]["reason"]) == (409, "ALREADY_EXISTS")
    user = {"email": "x@y.example", "password": PASSWORD, "tenantId": "new-one"}
    path = f"/v1/users/{(await client.post('/v1/users', json=user, headers=root)).json()['userId']}"
    roles = await client.post(f"{path}:setRoles", json={"roles": ["tenant_admin"]}, headers=root)
    assert roles.json()["roles"] == ["tenant_admin"]
    chief = await bearer(client, "x@y.example")
    assert (await client.get("/v1/users", headers=chief)).json()["users"][0]["email"] == "x@y.example"
    assert (await client.get("/v1/tenants/acme", headers=chief)).status_code == 404
    assert (await client.post("/v1/users:invite", json={"email": "z@y.example"}, headers=chief)).status_code == 200
    for verb in ("suspend", "resume"):
        assert (await client.post(f"{path}:{verb}", json={}, headers=root)).status_code == 200
        assert (await client.post(f"/v1/tenants/new-one:{verb}", json={}, headers=root)).status_code == 200
    events = (await client.get("/v1/auditEvents?tenantId=new-one", headers=root)).json()["events"]
    assert events[0]["event"] == "tenant.resumed"
    assert events[0]["address"] == "127.0.0.1"
    verdict = (await client.get("/v1/auditEvents:verify?tenantId=new-one", headers=root)).json()
    assert (verdict["intact"], verdict["headSequence"]) == (True, str(len(events)))
    assert (await client.delete(path, headers=root)).status_code == 200
    assert (await client.get(path, headers=root)).status_code == 404


async def test_a_client_cannot_choose_the_address_that_it_is_slowed_down_by(
    at_edge: tuple[Auth, httpx.AsyncClient],
) -> None:
    auth, client = at_edge
    forged = {"x-envoy-external-address": "192.0.2.7", "x-forwarded-for": "192.0.2.8"}
    await client.post("/v1/auth/login", json={"email": EMAIL, "password": "wrong"}, headers=forged)
    query = "SELECT address FROM auth.audit_events WHERE outcome = 'refused' AND tenant_id = 'acme'"
    assert await auth.arrange(query) == "127.0.0.1"
