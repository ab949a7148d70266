"""Asks the service of this container how it fares, for health checks: ``python -m meshkit.probe SERVICE``.

It reads the settings of the service itself, so that it also finds a port that takes none without a certificate.
"""

import argparse
import asyncio
import sys
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshkit.settings import ServiceSettings
from meshkit.tls import Certificates, channel

_SECONDS = 3.0


def main() -> None:
    """Ends with 1, and a line that says why, unless the service says that it serves."""
    parser = argparse.ArgumentParser(prog="python -m meshkit.probe", description=__doc__)
    parser.add_argument("service", help="the service's name, e.g. spatial-index")
    service = parser.parse_args().service
    problem = asyncio.run(_problem(_settings_of(service)))
    if problem:
        sys.exit(f"{service}: {problem}")


def _settings_of(service: str) -> ServiceSettings:
    class Settings(ServiceSettings, service=service):
        """The settings that every service has, by this service's names."""

    return Settings.load()


async def _problem(settings: ServiceSettings) -> str:
    address = f"127.0.0.1:{settings.port}"
    async with channel(address, settings.service, Certificates.of(settings), options=[]) as connection:
        stub: Any = health_pb2_grpc.HealthStub(connection)  # it carries no types
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name} {error.details()}"
    serving = health_pb2.HealthCheckResponse.SERVING
    return "" if answer.status == serving else health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


if __name__ == "__main__":
    main()
