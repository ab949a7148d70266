"""Which addresses a webhook may have: those of the internet, and the networks that an operator lists.

Names are resolved here and every address they have is checked; the connection is then made to a checked address and not
to the name, so that a name server that answers differently the second time (DNS rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64: Final = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
_V4_BITS: Final = 0xFFFF_FFFF
_RESOLVE_SECONDS: Final = 5.0


class Refused(Exception):
    """A host must not be connected to, or cannot be; the text says why and is told to the rule's owner."""


class Gate:
    """Lets through what is public or listed."""

    def __init__(self, allowed: Iterable[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def lets(self, address: Address) -> bool:
        """Tells whether an address may be connected to; what it is a disguise of is judged too."""
        if self.lists(address):
            return True
        inner = _embedded(address)
        if inner is not None:
            return self.lists(inner) or _is_public(inner)
        return _is_public(address)

    def lists(self, address: Address) -> bool:
        """Tells whether an operator has listed the address's network."""
        return any(address.version == each.version and address in each for each in self._allowed)

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Returns the addresses of a host, all of them checked.

        Raises:
            Refused: It has none, or one that must not be connected to.
        """
        try:
            async with asyncio.timeout(_RESOLVE_SECONDS):
                found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError, TimeoutError):
            raise Refused(f"the host {host!r} has no address") from None
        # A scope such as %eth0 comes only with link-local addresses, which are refused with or without it.
        addresses = [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        if not addresses or not all(map(self.lets, addresses)):
            raise Refused(f"the host {host!r} has an address that is not public")
        return list(dict.fromkeys(addresses))


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that a gate lets through, and to nothing else."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 -- the library's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first checked address that answers. TLS still asks for the certificate of the name."""
        problem: Exception = httpcore.ConnectError("no address")
        for address in await self._gate.resolve(host, port):
            try:
                return await self._backend.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                problem = error
        raise problem

    async def connect_unix_socket(self, *_arguments: Any, **_more: Any) -> httpcore.AsyncNetworkStream:
        """Refuses."""
        raise Refused("a webhook is no socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await self._backend.sleep(seconds)


def _is_public(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _embedded(address: Address) -> ipaddress.IPv4Address | None:
    """Returns the IPv4 address that an IPv6 one leads to: mapped, 6to4 (RFC 3056), Teredo (RFC 4380) or NAT64 (RFC 6052)."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.teredo is not None:
        return address.teredo[1]
    if any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & _V4_BITS)
    return address.ipv4_mapped or address.sixtofour
