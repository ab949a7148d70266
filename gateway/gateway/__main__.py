"""Wires and runs the gateway process, which answers where no single service can: status, reflection and health."""

from gateway.contract import load
from gateway.servicer import GatewayServicer
from gateway.settings import LIMITS, Settings, addresses
from gateway.site import Site
from gateway.watch import ServiceWatch
from meshkit.health import State
from meshkit.serve import run, serve
from meshkit.tls import Certificates


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    api = load()
    others = [owner for owner in api.owners if owner != settings.service]
    certificates, patience = Certificates.of(settings), settings.status_timeout_seconds
    limits = ServiceWatch(
        LIMITS,
        addresses([LIMITS])[LIMITS],
        timeout_seconds=patience,
        worst=State.DEGRADED,  # calls pass without it
        certificates=certificates,
    )
    watches = {
        owner: ServiceWatch(owner, replicas, timeout_seconds=patience, certificates=certificates)
        for owner, replicas in addresses(others).items()
    }
    await serve(
        settings,
        servicers=[GatewayServicer([*watches.values(), limits], Site.load())],
        dependencies=[*watches.values(), limits],
        stands_for={service: watches[owner] for service, owner in api.services.items() if owner in watches},
    )


if __name__ == "__main__":
    run(main)
