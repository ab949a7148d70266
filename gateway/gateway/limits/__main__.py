"""Wires and runs the rate-limit service, which Envoy asks before it sends a call on."""

from gateway.limits.batches import Batches, patient_redis
from gateway.limits.decisions import SCRIPT, Limiter
from gateway.limits.listener import Listener
from gateway.limits.plans import Plans
from gateway.limits.servicer import answer
from gateway.limits.settings import Settings
from meshkit.serve import run, serve


async def main() -> None:
    """Serves until told to stop."""
    settings = Settings.load()
    patience_seconds = settings.redis_patience_seconds
    redis = patient_redis(settings, patience_seconds=patience_seconds)
    batches = Batches(redis, SCRIPT, patience_seconds=patience_seconds)
    listener = Listener(settings, answer(Limiter(Plans(settings), batches)))
    await serve(settings, servicers=[], dependencies=[redis, listener])
    await batches.close()


if __name__ == "__main__":
    run(main)
