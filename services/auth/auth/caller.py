"""Who calls an RPC of accounts or administration, and from where."""

from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

import grpc

from geomesh.options.v1 import options_pb2
from meshkit.context import address_of, current
from meshkit.identity import Identity


def network_of(address: str) -> str:
    """Returns what one client is likely to have to itself: an IPv4 address, or the first 64 bits of an IPv6 one."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{IPv6Address(int(parsed) >> 64 << 64)}/64"
    return str(parsed)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who administers.

    Attributes:
        identity: As their token names them.
        address: Where they call from.
    """

    identity: Identity
    address: str

    @property
    def reach(self) -> str | None:
        """The only tenant that the caller may manage; None for every tenant."""
        everywhere = options_pb2.PERMISSION_ADMIN_USERS in self.identity.permissions
        return None if everywhere else self.identity.tenant


def caller_of(context: "grpc.aio.ServicerContext[Any, Any]") -> Caller:
    """Returns who makes this call."""
    return Caller(current().identity, address_of(context))
