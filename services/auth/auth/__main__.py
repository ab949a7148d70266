"""Runs the auth service: `python -m auth`."""

from auth.settings import Settings
from auth.wiring import wire
from meshkit.serve import run, serve


async def main() -> None:
    """Wires the service together."""
    settings = Settings.load()
    wired = wire(settings)
    await serve(settings, servicers=wired.servicers, dependencies=wired.dependencies, tokens=wired.verifier)


if __name__ == "__main__":
    run(main)
