"""Who calls, and what their roles allow."""

import pytest

from geomesh.options.v1 import options_pb2
from meshkit.identity import ANONYMOUS, PLANS, PUBLIC_TENANT, ROLES, permissions_of

PUBLIC = {options_pb2.PERMISSION_READ_PUBLIC_DATA}
USER = PUBLIC | {options_pb2.PERMISSION_READ_OWN_DATA, options_pb2.PERMISSION_WRITE_OWN_DATA}
PREMIUM = USER | {options_pb2.PERMISSION_READ_TENANT_DATA}
TENANT_ADMIN = PREMIUM | {options_pb2.PERMISSION_WRITE_TENANT_DATA, options_pb2.PERMISSION_MANAGE_TENANT_USERS}
SYSTEM_ADMIN = set(options_pb2.Permission.values()) - {
    options_pb2.PERMISSION_UNSPECIFIED,
    options_pb2.PERMISSION_ANYONE,
}


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("public", PUBLIC),
        ("user", USER),
        ("premium", PREMIUM),
        ("tenant_admin", TENANT_ADMIN),
        ("system_admin", SYSTEM_ADMIN),
    ],
)
def test_a_role_allows_what_the_contract_lists(role: str, allowed: set[int]) -> None:
    assert permissions_of([role]) == allowed


def test_there_are_no_other_roles() -> None:
    assert set(ROLES) == {"public", "user", "premium", "tenant_admin", "system_admin"}


def test_roles_allow_together_what_each_allows() -> None:
    assert permissions_of(["premium", "user"]) == PREMIUM


@pytest.mark.parametrize("roles", [[], ["emperor"], ["SYSTEM_ADMIN"], [" system_admin"], [""]])
def test_an_unknown_role_allows_what_everyone_may(roles: list[str]) -> None:
    assert permissions_of(roles) == PUBLIC


def test_no_role_is_needed_for_what_anyone_may() -> None:
    assert all(options_pb2.PERMISSION_ANYONE not in allowed for allowed in ROLES.values())


def test_a_caller_without_a_token_reads_public_data_under_the_tightest_plan() -> None:
    assert ANONYMOUS.permissions == PUBLIC
    assert (ANONYMOUS.subject, ANONYMOUS.tenant, ANONYMOUS.plan) == ("", PUBLIC_TENANT, PLANS[0])
