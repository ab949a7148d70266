"""A real server with a service of the tests' own, and an issuer of real tokens."""

import importlib
import json
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.json_format import ParseDict

import geomesh
from geomesh.auth.v1 import auth_pb2
from meshkit.serve import Ports, running
from meshkit.settings import ServiceSettings

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The generated module of the probe's servicer, compiled by the project's own generator."""
    folder = tmp_path_factory.mktemp("probe")
    shutil.copytree(CHECKOUT / "protos", folder / "protos")
    shutil.copytree(Path(__file__).parent / "probe", folder / "protos/geomesh/probe/v1")
    (folder / "runtime").mkdir()
    subprocess.run([sys.executable, folder / "protos/generate.py"], check=True)
    geomesh.__path__.append(str(folder / "runtime/geomesh"))
    module = importlib.import_module("geomesh.probe.v1.probe_pb2_grpc")
    geomesh.__path__.pop()  # who looks for the services of the mesh in the same process shall not find this one
    return module


@pytest.fixture(scope="session")
def messages(probe: ModuleType) -> Any:
    """The probe's messages."""
    return importlib.import_module(probe.__name__.removesuffix("_grpc"))


class Issuer:
    """Signs tokens and publishes the key, as the auth service does."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Takes another key, and publishes the old one no more."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._id = uuid.uuid4().hex

    def token(self, *roles: str, tenant: str = "acme", **claims: Any) -> str:
        """Returns an access token with these roles."""
        now = int(time.time())
        standard = {
            "iss": "https://geomesh.local",
            "aud": "geomesh",
            "sub": "someone",
            "jti": uuid.uuid4().hex,
            "iat": now,
            "nbf": now,
            "exp": now + 900,
            "tenant": tenant,
            "roles": list(roles),
            "plan": "user",
        }
        return jwt.encode(standard | claims, self._key, algorithm="ES256", headers={"kid": self._id, "typ": "at+jwt"})

    async def jwks(self, request: auth_pb2.GetJwksRequest, context: object) -> auth_pb2.JsonWebKeySet:
        """Publishes the key."""
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key.public_key()))
        return ParseDict({"keys": [{**key, "kid": self._id, "alg": "ES256", "use": "sig"}]}, auth_pb2.JsonWebKeySet())


@pytest.fixture
async def issuer() -> AsyncIterator[tuple[Issuer, int]]:
    """An issuer and the port where it publishes its key."""
    issuer = Issuer()
    server = grpc.aio.server()
    publish = grpc.unary_unary_rpc_method_handler(
        issuer.jwks,
        request_deserializer=auth_pb2.GetJwksRequest.FromString,
        response_serializer=auth_pb2.JsonWebKeySet.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("geomesh.auth.v1.AuthService", {"GetJwks": publish}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield issuer, port
    await server.stop(0)


class ProbeSettings(ServiceSettings, service="runtime"):
    """The settings of a server under test: any free port, and no waiting where nothing is tested by it."""


Start = Callable[..., AbstractAsyncContextManager[Ports]]


@pytest.fixture
def start(issuer: tuple[Issuer, int]) -> Start:
    """Starts a server with servicers and settings of the test's own."""

    @asynccontextmanager
    async def started(*servicers: object, **settings: Any) -> AsyncIterator[Ports]:
        chosen = {"port": 0, "metrics_port": 0, "drain_notice_seconds": 0.0, "drain_seconds": 5.0} | {
            key: value for key, value in settings.items() if key in ProbeSettings.model_fields
        }
        rest = {key: value for key, value in settings.items() if key not in ProbeSettings.model_fields}
        configured = ProbeSettings(auth_address=f"127.0.0.1:{issuer[1]}", **chosen)
        async with running(configured, servicers=servicers, **rest) as ports:
            yield ports

    return started
