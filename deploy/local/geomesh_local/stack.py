"""One stack: where it keeps its things, which programs it has and what each is told."""

import json
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from geomesh_local.accounts import database_account
from geomesh_local.build import build_of
from geomesh_local.credentials import ADMIN_ROLE, OWNER_ROLE, Credentials
from geomesh_local.errors import StackError
from geomesh_local.ports import GATEWAY, LIMITS, SERVICES, PortPlan, program_name
from geomesh_local.postgres import PostgresCluster
from geomesh_local.supervisor import Program, Supervisor
from meshkit.development_ca import AUTHORITY, EDGE, OPERATOR, PUBLIC, issue, subjects
from meshkit.tls import Certificates

CHECKOUT = Path(__file__).resolve().parents[3]
DATABASE = "geomesh"

_STOP_SECONDS = 20  # longer than a service takes to leave the rotation and finish its calls; see meshkit.settings
# gRPC's older poller moves a call between threads less often: measured to serve a fifth more calls (docs/decisions.md).
# Read when grpc is imported, so that it cannot be set by the services themselves.
_GRPC_EXPERIMENTS = "-event_engine_listener"
_CALLERS = {"geocoder": ("airquality",)}
_REDIS_SETTINGS = """\
bind 127.0.0.1
daemonize no
set-proc-title no
databases 512
save ""
appendonly no
maxmemory 256mb
maxmemory-policy volatile-lru
"""


@dataclass(frozen=True)
class Stack:
    """A whole mesh on this machine; several live side by side on ports and in folders of their own.

    Attributes:
        run: The folder that holds everything of this stack.
        ports: Where its programs listen.
        replicas: Processes per service.
        durable: Whether Postgres writes commits through to the disk.
        tls: Whether the edge speaks TLS, and the programs behind it prove to each other who they are.
        database: The database that the services use.
        environment: The caller's variables; those of a service are handed on to it.
    """

    run: Path
    ports: PortPlan
    replicas: int = 1
    durable: bool = True
    tls: bool = False
    database: str = DATABASE
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))

    @cached_property
    def credentials(self) -> Credentials:
        """The passwords, made when they are first asked for."""
        self.run.mkdir(parents=True, exist_ok=True)
        return Credentials.load(self.run / "secrets.json")

    @cached_property
    def supervisor(self) -> Supervisor:
        """What runs the programs."""
        return Supervisor(self.run)

    @property
    def postgres(self) -> PostgresCluster:
        """The private Postgres cluster."""
        return PostgresCluster(self.run / "postgres", self.ports.postgres, ADMIN_ROLE, self.durable)

    @property
    def edge_url(self) -> str:
        """The address of the public listener."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.ports.edge}"

    @cached_property
    def edge_trust(self) -> ssl.SSLContext | bool:
        """What httpx takes as `verify`, for calls to the edge."""
        return ssl.create_default_context(cafile=self.certificate(AUTHORITY)) if self.tls else True

    @property
    def certificates(self) -> Path:
        """The folder of the certificates; see `make certs`."""
        chosen = self.environment.get("GEOMESH_CERTS_DIR")
        return Path(chosen).absolute() if chosen else self.run / "certs"

    def certificate(self, name: str) -> Path:
        """Returns the file of a certificate; its key is beside it."""
        return self.certificates / f"{name}.pem"

    def prepare_certificates(self, *, renew: bool = False) -> list[str]:
        """Makes the certificates that are missing or expire soon, or all, and returns their names.

        Raises:
            StackError: if the folder cannot be used.
        """
        names = self.environment.get("GEOMESH_CERTS_NAMES", "").split()
        try:
            return issue(self.certificates, subjects((*SERVICES, GATEWAY, LIMITS), names), renew=renew)
        except (OSError, ValueError) as error:
            raise StackError(f"the certificates cannot be made: {error}") from error

    @cached_property
    def operator(self) -> Certificates | None:
        """What this program proves itself to the services with; None without TLS."""
        if not self.tls:
            return None
        return Certificates(self.certificate(OPERATOR), self._key(OPERATOR), self.certificate(AUTHORITY))

    @property
    def administrator_password_path(self) -> Path:
        """The file with the password of the mesh's first administrator, written by the auth service's set-up."""
        return self.run / "administrator-password"

    @property
    def envoy_configuration(self) -> Path:
        """The file that Envoy is started with."""
        return self.run / "envoy" / "envoy.yaml"

    def admin_dsn(self, database: str | None = None) -> str:
        """Returns the superuser's DSN."""
        return self._dsn(ADMIN_ROLE, database)

    def owner_dsn(self, database: str | None = None) -> str:
        """Returns the DSN of the role that owns every service's tables."""
        return self._dsn(OWNER_ROLE, database)

    def service_dsn(self, service: str, database: str | None = None) -> str:
        """Returns the DSN of a service's own role."""
        return self._dsn(f"geomesh_{_snake(service)}", database)

    def redis_url(self, number: int = 0) -> str:
        """Returns the URL of one of Redis's databases."""
        return f"redis://:{quote(self.credentials['redis'])}@127.0.0.1:{self.ports.redis}/{number}"

    def grpc_address(self, service: str) -> str:
        """Returns the gRPC target that reaches every replica of a service."""
        return "ipv4:" + ",".join(f"127.0.0.1:{self.ports.grpc(service, replica)}" for replica in range(self.replicas))

    def setup_environment(self, database: str | None = None) -> dict[str, str]:
        """Returns the variables of migrations, set-up and loaders, which may do what no service may."""
        variables = {"GEOMESH_ADMIN_DSN": self.admin_dsn(database)}
        for service in SERVICES:
            variables |= self._service_environment(service, database)
            variables[_variable(service, "OWNER_DSN")] = self.owner_dsn(database)
        return self._inherited("GEOMESH_") | variables

    def program_environment(self, service: str, replica: int) -> dict[str, str]:
        """Returns the variables of one serving process."""
        variables = {
            _variable(service, "PORT"): str(self.ports.grpc(service, replica)),
            _variable(service, "METRICS_PORT"): str(self.ports.metrics(service, replica)),
        }
        if service == GATEWAY:
            variables |= self.edge_environment() | {_variable(service, "AUTH_ADDRESS"): self.grpc_address("auth")}
        elif service == LIMITS:
            variables[_variable(service, "REDIS_URL")] = self.redis_url()
            variables[_variable(service, "COUNTING_PORT")] = str(self.ports.counting(replica))
        else:
            variables |= self._service_environment(service, None)
        if self.tls:
            variables |= self._certificate_variables(f"GEOMESH_{_snake(service).upper()}_TLS", service)
            variables[_variable(service, "TLS_PEERS")] = json.dumps([EDGE, GATEWAY, OPERATOR, *callers_of(service)])
        return self._inherited(f"GEOMESH_{_snake(service).upper()}_") | variables

    def _service_environment(self, service: str, database: str | None) -> dict[str, str]:
        values = {
            "POSTGRES_DSN": self.service_dsn(service, database),
            "REDIS_URL": self.redis_url(),
            "AUTH_ADDRESS": self.grpc_address("auth"),
        }
        if service == "airquality":
            values["GEOCODER_ADDRESS"] = self.grpc_address("geocoder")
        if service == "auth":
            values["KEY_ENCRYPTION_KEY"] = self.credentials["key_encryption"]
            values["ADMINISTRATOR_PASSWORD_PATH"] = str(self.administrator_password_path)
        return {_variable(service, name): value for name, value in values.items()}

    def edge_environment(self) -> dict[str, str]:
        """Returns the variables that Envoy's configuration is rendered from."""
        services = {
            _variable(GATEWAY, f"{_snake(each).upper()}_ADDRESS"): self.grpc_address(each)
            for each in (*SERVICES, LIMITS)
        }
        certificates = {}
        if self.tls:
            certificates = self._certificate_variables("GEOMESH_EDGE_MESH_TLS", EDGE) | {
                "GEOMESH_EDGE_TLS_CERTIFICATE_PATH": str(self.certificate(PUBLIC)),
                "GEOMESH_EDGE_TLS_KEY_PATH": str(self._key(PUBLIC)),
            }
        counting = ",".join(f"127.0.0.1:{self.ports.counting(replica)}" for replica in range(self.replicas))
        return self._inherited("GEOMESH_EDGE_") | {
            _variable(GATEWAY, "LIMITS_COUNTING_ADDRESS"): counting,
            "GEOMESH_EDGE_PORT": str(self.ports.edge),
            "GEOMESH_EDGE_ADMIN_PORT": str(self.ports.admin),
            _variable(GATEWAY, "ADDRESS"): f"ipv4:127.0.0.1:{self.ports.grpc(GATEWAY, 0)}",
            **services,
            **certificates,
        }

    def stores(self) -> list[Program]:
        """Returns Postgres and Redis as programs; their settings must have been written."""
        redis = self.run / "redis"
        return [
            Program(
                "postgres",
                self.postgres.command(),
                self.postgres.link.resolve(),
                {"GEOMESH_BUILD": build_of(self.postgres.data / "postgresql.conf", self.postgres.data / "pg_hba.conf")},
                account=database_account(),
                stop_signal="INT",  # without waiting for clients to leave
                stop_seconds=60,
            ),
            Program(
                "redis",
                ["redis-server", str(redis / "redis.conf")],
                redis,
                {"GEOMESH_BUILD": build_of(redis / "redis.conf")},
            ),
        ]

    def prepare_stores(self) -> None:
        """Makes the Postgres cluster and the settings of both stores, where they are not there yet."""
        self.postgres.prepare(self.credentials[ADMIN_ROLE])
        folder = self.run / "redis"
        folder.mkdir(exist_ok=True)
        settings = f"port {self.ports.redis}\nrequirepass {self.credentials['redis']}\n{_REDIS_SETTINGS}"
        path = folder / "redis.conf"
        if not path.exists() or path.read_text() != settings:
            path.touch(mode=0o600)
            path.write_text(settings)

    def services(self) -> list[Program]:
        """Returns every replica of every service, and the gateway's process."""
        replicas = [(service, replica) for service in (*SERVICES, LIMITS) for replica in range(self.replicas)]
        return [self._service(service, replica) for service, replica in (*replicas, (GATEWAY, 0))]

    def envoy(self) -> Program:
        """Returns the edge as a program; its configuration must have been rendered."""
        # Hot restart would share memory with every other Envoy on the machine; stacks live side by side.
        workers = self.environment.get("GEOMESH_EDGE_WORKERS", "1")
        options = [
            *("--disable-hot-restart", "--concurrency", workers, "--file-flush-interval-msec", "1000"),
            *("--log-format", "%Y-%m-%dT%T.%eZ [%l] [%n] %v"),
        ]
        return Program(
            "envoy",
            [str(Path(sys.executable).with_name("envoy")), "-c", str(self.envoy_configuration), *options],
            self.run,
            {"GEOMESH_BUILD": build_of(self.envoy_configuration.parent)},
        )

    def _service(self, service: str, replica: int) -> Program:
        package = "gateway.limits" if service == LIMITS else _snake(service)
        folder = CHECKOUT / "gateway" if service in {GATEWAY, LIMITS} else CHECKOUT / "services" / service
        # Restarted by the next `make up` if its code has changed, and only then.
        build = build_of(CHECKOUT / "runtime", folder, CHECKOUT / "requirements.lock")
        return Program(
            program_name(service, replica),
            [sys.executable, "-m", package],
            self.run,
            {
                "GEOMESH_BUILD": build,
                "PYTHONUNBUFFERED": "1",
                "GRPC_EXPERIMENTS": self.environment.get("GRPC_EXPERIMENTS", _GRPC_EXPERIMENTS),
            }
            | self.program_environment(service, replica),
            stop_seconds=_STOP_SECONDS,
        )

    def _certificate_variables(self, prefix: str, name: str) -> dict[str, str]:
        return {
            f"{prefix}_CERTIFICATE_PATH": str(self.certificate(name)),
            f"{prefix}_KEY_PATH": str(self._key(name)),
            f"{prefix}_CA_PATH": str(self.certificate(AUTHORITY)),
        }

    def _key(self, name: str) -> Path:
        return self.certificate(f"{name}-key")

    def _dsn(self, role: str, database: str | None) -> str:
        password = quote(self.credentials[role])
        return f"postgresql://{role}:{password}@127.0.0.1:{self.ports.postgres}/{database or self.database}"

    def _inherited(self, prefix: str) -> dict[str, str]:
        return {name: value for name, value in self.environment.items() if name.startswith(prefix)}


def callers_of(service: str) -> tuple[str, ...]:
    """Returns the services that call this one; the edge, the gateway and the operator call every one."""
    if service == "auth":
        return SERVICES  # for its keys
    return _CALLERS.get(service, ())


def _snake(service: str) -> str:
    return service.replace("-", "_")


def _variable(service: str, name: str) -> str:
    return f"GEOMESH_{_snake(service).upper()}_{name}"
