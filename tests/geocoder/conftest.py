"""The whole gazetteer, loaded once for all sessions of this checkout, and a geocoder that serves it."""

import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from pydantic import SecretStr

from geocoder.load import gazetteer_version
from geocoder.repository import GazetteerRepository
from geocoder.servicer import GeocoderServicer
from geocoder.settings import Settings
from geomesh.geocoder.v1 import geocoder_pb2 as pb
from geomesh.geocoder.v1 import geocoder_pb2_grpc
from geomesh_local.postgres import create_database, database_exists
from geomesh_local.stack import CHECKOUT, Stack
from geomesh_local.stores import locked, migrate_database
from meshkit.cache import Cache
from meshkit.postgres import Postgres
from meshkit.serve import running
from tests.conftest import RUN

DATA = CHECKOUT / "data"
SHARED = CHECKOUT.parent / "shared" / "data"


@dataclass(frozen=True)
class Loaded:
    """A database with the whole gazetteer; nobody writes to it."""

    url: str
    owner_url: str


@pytest.fixture(scope="session")
def gazetteer(stores: Stack) -> Loaded:
    """The loaded database. Its name tells what is in it, so that only the first session after a change loads it."""
    migrations = sorted((Path(str(resources.files("geocoder"))) / "sql" / "migrations").glob("*.sql"))
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in migrations)).hexdigest()[:8]
    name = f"gazetteer_{gazetteer_version(DATA)}_{digest}"
    with locked(RUN / "gazetteer.lock"), ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _migrated(stores, name)).result()
        environment = os.environ | {"GEOMESH_GEOCODER_OWNER_DSN": stores.owner_dsn(name)}
        subprocess.run([sys.executable, "-m", "geocoder.load"], env=environment, check=True, stdout=subprocess.DEVNULL)
    return Loaded(stores.service_dsn("geocoder", name), stores.owner_dsn(name))


async def _migrated(stores: Stack, name: str) -> None:
    if not await database_exists(stores.admin_dsn("postgres"), name):
        await create_database(stores.admin_dsn("postgres"), name)
    await migrate_database(stores, name, ["geocoder"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(gazetteer: Loaded) -> AsyncIterator[Postgres]:
    """The loaded database in the service's own role."""
    database = Postgres(Settings(postgres_dsn=SecretStr(gazetteer.url)), generic_plans=True)
    await database.start()
    yield database
    await database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def geocoder(database: Postgres) -> "AsyncIterator[geocoder_pb2_grpc.GeocoderServiceAsyncStub]":
    """A stub of a server that runs the service as `python -m geocoder` does, without Redis; no token is needed."""
    settings = Settings(port=0, metrics_port=0, drain_notice_seconds=0, redis_url=SecretStr("redis://127.0.0.1:1/0"))
    cache = Cache(settings)
    servicer = GeocoderServicer(settings, GazetteerRepository(database), cache)
    async with (
        running(settings, servicers=[servicer], dependencies=[cache]) as ports,
        grpc.aio.insecure_channel(f"127.0.0.1:{ports.grpc}") as channel,
    ):
        stub: geocoder_pb2_grpc.GeocoderServiceAsyncStub = geocoder_pb2_grpc.GeocoderServiceStub(channel)
        yield stub


def names(reply: pb.GeocodeResponse | pb.SearchPlacesResponse | pb.AutocompleteResponse) -> list[str]:
    """Returns the names of the places of a reply, with what they lie in."""
    return [result.place.display_name for result in reply.results]
