"""A mesh to test: all programs of the local stack, on ports and data of its own, with the means to break it."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cached_property

import asyncpg
import grpc
import httpx

from geomesh_local.build import build_of
from geomesh_local.loading import load_data, set_up_accounts
from geomesh_local.plan import remember
from geomesh_local.ports import SERVICES, program_name
from geomesh_local.postgres import create_database, database_exists, drop_database
from geomesh_local.readiness import wait_until_well
from geomesh_local.stack import CHECKOUT, Stack
from geomesh_local.stores import end_strays, migrate_database, start_stores
from geomesh_local.up import render_edge
from meshkit import tls

_WELL_SECONDS = 60.0
_ADMINISTRATOR = "admin@localhost"


@dataclass
class Mesh:
    """The mesh of a test session.

    Attributes:
        stack: What runs it.
    """

    stack: Stack
    _tokens: dict[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        """The edge, for REST."""
        return self.stack.edge_url

    @property
    def grpc_target(self) -> str:
        """The edge, for gRPC."""
        return f"127.0.0.1:{self.stack.ports.edge}"

    @property
    def administrator(self) -> tuple[str, str]:
        """E-mail and password of the administrator made at set-up."""
        return _ADMINISTRATOR, self.stack.administrator_password_path.read_text().strip()

    def token(self, role: str = "system_admin", tenant: str = "tests") -> str:
        """Returns an access token of an account with the role; all but the administrator's are made when first asked for."""
        key = f"{role}@{tenant}"
        if key not in self._tokens:
            email, password = self.administrator if role == "system_admin" else self._create_user(role, tenant)
            with httpx.Client(base_url=self.base_url, timeout=10, verify=self.stack.edge_trust) as client:
                answer = client.post("/v1/auth/login", json={"email": email, "password": password}).raise_for_status()
            self._tokens[key] = answer.json()["accessToken"]
        return self._tokens[key]

    def _create_user(self, role: str, tenant: str) -> tuple[str, str]:
        email = f"{role}@{tenant}.example"
        command = [
            sys.executable,
            "-m",
            "auth.setup",
            "create-user",
            "--email",
            email,
            "--role",
            role,
            "--tenant",
            tenant,
        ]
        made = subprocess.run(command, env=self.stack.setup_environment(), capture_output=True, text=True, check=True)
        return email, made.stdout.split()[-1]

    @cached_property
    def programs(self) -> dict[str, list[str]]:
        """The names of the programs that serve each service."""
        return {each: [program_name(each, replica) for replica in range(self.stack.replicas)] for each in SERVICES}

    def channel(self, target: str) -> grpc.aio.Channel:
        """Returns a channel to the edge, or to a process of a service as a program of the mesh has it."""
        ports = self.stack.ports
        owners = {f"127.0.0.1:{ports.grpc(each, n)}": each for each in SERVICES for n in range(self.stack.replicas)}
        if target in owners:
            return tls.channel(target, owners[target], self.stack.operator, options=[])
        if not self.stack.tls:
            return grpc.aio.insecure_channel(target)
        credentials = grpc.ssl_channel_credentials(self.stack.certificate("ca").read_bytes())
        return grpc.aio.secure_channel(target, credentials)

    def stop(self, *programs: str) -> None:
        """Stops programs, such as `redis`, `postgres` or `geocoder-0`, as `make down` would."""
        self.stack.supervisor.stop(programs)

    def start(self, *programs: str) -> None:
        """Starts stopped programs, without waiting until they are well."""
        self.stack.supervisor.start(programs)

    def kill(self, program: str, signal_name: str = "KILL") -> None:
        """Sends a signal to a program; the supervisor starts it again if it ends."""
        self.stack.supervisor.signal(program, signal_name)

    async def wait_until_well(self) -> None:
        """Waits until every program answers that it can serve."""
        await wait_until_well(self.stack, _WELL_SECONDS)

    async def heal(self) -> None:
        """Starts what was stopped and wakes what was frozen."""
        states = self.stack.supervisor.states()
        for name, state in states.items():
            if state.pid:
                self.kill(name, "CONT")
        if stopped := [name for name, state in states.items() if state.name != "RUNNING"]:
            self.start(*stopped)
            await self.wait_until_well()
        # A test that follows may look at the states: it shall find what supervisord trusts to run.
        for _ in range(100):
            if all(state.name != "STARTING" for state in self.stack.supervisor.states().values()):
                return
            await asyncio.sleep(0.05)

    async def start_all(self) -> None:
        """Starts everything on the real data, which is loaded once for each version of data and loaders."""
        stack = self.stack
        stack.supervisor.shut_down()  # of a session that was killed
        end_strays(stack)
        await render_edge(stack)
        await start_stores(stack, [*stack.services(), stack.envoy()])
        remember(stack)
        await self._restore_data()
        self.start(*(program.name for program in (*stack.services(), stack.envoy())))
        await self.wait_until_well()

    async def _restore_data(self) -> None:
        admin = self.stack.admin_dsn("postgres")
        sources = [CHECKOUT / path for path in ("data", "services", "runtime/meshkit", "requirements.lock")]
        loaded = f"loaded_{build_of(*sources)}"
        await drop_database(admin, self.stack.database)
        if await database_exists(admin, loaded):
            await create_database(admin, self.stack.database, loaded)
            return
        await self._drop_older_data(admin)
        await migrate_database(self.stack, self.stack.database)
        await set_up_accounts(self.stack)
        await load_data(self.stack)
        await create_database(admin, loaded, self.stack.database)

    async def _drop_older_data(self, admin: str) -> None:
        connection = await asyncpg.connect(admin)
        try:
            for row in await connection.fetch("SELECT datname FROM pg_database WHERE datname LIKE 'loaded\\_%'"):
                await connection.execute(f'DROP DATABASE "{row["datname"]}"')
        finally:
            await connection.close()
