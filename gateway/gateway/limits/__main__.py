"""Wires and runs the rate-limit service, which Envoy asks before it sends a call on."""

from gateway.limits.decisions import SCRIPT, Limiter
from gateway.limits.link import Link
from gateway.limits.listener import Listener
from gateway.limits.plans import Plans
from gateway.limits.servicer import answer
from gateway.limits.settings import Settings
from meshkit.serve import run, serve
from meshkit.tls import Certificates


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    link = Link(settings.redis_url.get_secret_value(), SCRIPT)
    address = f"{settings.host}:{settings.counting_port}"
    listener = Listener(address, answer(Limiter(Plans(settings), link)), Certificates.of(settings))
    await serve(settings, servicers=[], dependencies=[link, listener])


if __name__ == "__main__":
    run(main)
