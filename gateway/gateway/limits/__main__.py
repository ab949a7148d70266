"""Wires and runs the rate-limit service, which Envoy asks before it sends a call on."""

from gateway.limits.decisions import SCRIPT, Limiter
from gateway.limits.link import Link
from gateway.limits.plans import Plans
from gateway.limits.servicer import handlers
from gateway.limits.settings import Settings
from meshkit.serve import run, serve


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    link = Link(settings.redis_url.get_secret_value(), SCRIPT)
    await serve(settings, servicers=[], handlers=[handlers(Limiter(Plans(settings), link))], dependencies=[link])


if __name__ == "__main__":
    run(main)
