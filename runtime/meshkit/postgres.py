"""Postgres: named statements on bounded connections, tenant by tenant, and what happens when it does not answer.

A statement that breaks a rule of the database raises asyncpg's own error, such as `asyncpg.UniqueViolationError`, and
the repository says what it means. Everything else that can go wrong becomes an error of ours here: it is logged whole,
once, and tells the caller nothing of the driver.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import asyncpg
import structlog
from opentelemetry import trace
from prometheus_client import Gauge

from meshkit.breaker import Breaker
from meshkit.connections import Connections, Lease
from meshkit.context import CURRENT
from meshkit.errors import DeadlineExceeded, MeshError, Unavailable
from meshkit.health import State
from meshkit.postgres_errors import DRIVER_ERRORS, is_failure, may_pass, ours
from meshkit.queries import ERRORS, Statement, load_queries, statement_of
from meshkit.retry import Retries
from meshkit.settings import ServiceSettings
from meshkit.watch import Watch

__all__ = ["Connection", "Postgres", "load_queries"]

if TYPE_CHECKING:
    Record: TypeAlias = asyncpg.Record
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:  # asyncpg's classes take no parameters when they run
    Record = asyncpg.Record
    Connection = asyncpg.Connection

NAME: Final = "postgres-primary"
_CONNECTIONS = Gauge("geomesh_database_connections", "Open connections, and those of them in use.", ["state"])
_WAITING = Gauge("geomesh_database_waiting", "Calls that wait for a connection.")
_LOG = structlog.get_logger(__name__)
_TRACER = trace.get_tracer("meshkit.postgres")
_SPAN: Final = {"db.system.name": "postgresql"}
_CONNECT_SECONDS: Final = 1.0
_WAIT_SECONDS: Final = 1.0
# Two probes of a frozen server end 0.5 + 2 * 0.6 = 1.7 s after its last answer: all who wait know within 2 s.
_WATCH_SECONDS: Final = 0.5
_PROBE_SECONDS: Final = 0.6
_RECOVERY_SECONDS: Final = 1.0
_SLOW_SECONDS: Final = 1.0
_BIND: Final = "SELECT set_config('geomesh.tenant', $1, false)"
_Method: TypeAlias = Callable[..., Awaitable[Any]]


class Postgres:
    """The primary database of one service, in the role of that service.

    A connection's session never changes but for the tenant that row-level security goes by, so it needs no cleaning
    between two uses; a connection bound to no tenant sees public rows alone.

    A statement ends with its caller: the request path cancels the call at its deadline, which interrupts the statement.
    Beyond that Postgres ends it by the service's statement timeout, and a watcher cuts off a server that has gone
    silent. A timer of its own for each statement was measured to add an eighth to its cost.

    Reads (`fetch`, `fetchrow`, `fetchval` of a statement that changes nothing) are repeated within the caller's
    deadline when the connection broke under them. Nothing else is: nobody knows whether it was carried out.
    """

    name = NAME
    required = True

    def __init__(self, settings: ServiceSettings, *, generic_plans: bool = False) -> None:
        """Connects nowhere yet: `start` does.

        Args:
            settings: Where the database is, and how much of it the service may use.
            generic_plans: Whether Postgres plans each statement once a connection, for all parameters alike. It spares
                planning a statement of many parts at each call, and costs where a parameter decides the best plan.
        """
        self._dsn = settings.postgres_dsn.get_secret_value()
        if not self._dsn:
            prefix = settings.model_config.get("env_prefix", "")
            sys.exit(f"{settings.service} cannot start: {prefix}POSTGRES_DSN: must be set")
        self._generic_plans = generic_plans
        self._application = f"geomesh-{settings.service}"
        self._ceiling_seconds = settings.request_timeout_seconds
        self._traced = bool(settings.otlp_endpoint)
        self._breaker = Breaker(
            NAME, is_failure, failures=3, window_seconds=30.0, recovery_seconds=_RECOVERY_SECONDS, probes=1
        )
        self._retries = Retries(may_pass, first_seconds=0.02, within_seconds=0.5)
        self._connections = Connections(
            NAME,
            self._connect,
            size=settings.pool_size,
            most_waiting=settings.max_concurrent_requests,
            wait_seconds=_WAIT_SECONDS,
        )
        self._watch = Watch(NAME, self._ask, every_seconds=_WATCH_SECONDS, attempts=2, lost=self._lost)
        self._probe_connection: Connection | None = None

    @property
    def state(self) -> State:
        """Whether it answered when it was last used or probed."""
        return self._watch.state

    @property
    def breaker(self) -> str:
        """The state of its circuit breaker."""
        return self._breaker.state.value

    async def start(self) -> None:
        """Connects, for a moment only if nobody answers; the rest goes on in the background."""
        _CONNECTIONS.labels("open").set_function(lambda: self._connections.open)
        _CONNECTIONS.labels("busy").set_function(lambda: self._connections.busy)
        _WAITING.set_function(lambda: self._connections.waiting)
        await self._watch.start()

    async def close(self) -> None:
        """Closes every connection."""
        await self._watch.close()
        if self._probe_connection is not None:
            self._probe_connection.terminate()
        await self._connections.close()

    async def fetch(self, sql: str, *args: Any, tenant: str | None = None, retries: bool = True) -> list[Record]:
        """Returns the rows of a statement.

        Args:
            sql: The statement, one of `load_queries`.
            *args: Its parameters.
            tenant: Whose rows are visible beside the public ones; None shows public rows alone.
            retries: False for a SELECT that calls a function which must not run twice.

        Raises:
            Unavailable: The database does not answer.
            ResourceExhausted: Too many calls wait for a connection.
            DeadlineExceeded: The caller's time, or that of the settings, is over.
            asyncpg.PostgresError: The statement is wrong or breaks a constraint.
        """
        rows: list[Record] = await self._run(asyncpg.Connection.fetch, sql, args, tenant, retries=retries)
        return rows

    async def fetchrow(self, sql: str, *args: Any, tenant: str | None = None, retries: bool = True) -> Record | None:
        """Returns the first row, or None; for the rest see `fetch`."""
        row: Record | None = await self._run(asyncpg.Connection.fetchrow, sql, args, tenant, retries=retries)
        return row

    async def fetchval(self, sql: str, *args: Any, tenant: str | None = None, retries: bool = True) -> Any:
        """Returns the first column of the first row, or None; for the rest see `fetch`."""
        return await self._run(asyncpg.Connection.fetchval, sql, args, tenant, retries=retries)

    async def execute(self, sql: str, *args: Any, tenant: str | None = None) -> str:
        """Carries a statement out, once, and returns Postgres's word for it, e.g. ``DELETE 3``; raises as `fetch`."""
        word: str = await self._run(asyncpg.Connection.execute, sql, args, tenant, retries=False)
        return word

    @asynccontextmanager
    async def transaction(self, *, tenant: str | None = None) -> AsyncIterator[Connection]:
        """Gives a connection inside a transaction, which is committed at the end and undone when anything is raised.

        It is never repeated, and ends with the caller's time.

        Args:
            tenant: Whose rows may be read and written; None reads public rows alone.

        Raises:
            MeshError: As `fetch`.
            asyncpg.PostgresError: A statement is wrong or breaks a constraint.
        """
        try:
            async with asyncio.timeout(self._timeout()):
                lease, transaction = await self._breaker.call(self._begin, tenant or "")
                try:
                    yield lease.connection
                    await transaction.commit()
                except BaseException:
                    await _roll_back(lease, transaction)
                    raise
                finally:
                    self._connections.give_back(lease)
        except DRIVER_ERRORS as error:
            self._raise_ours(error, "transaction")

    def _run(
        self, method: _Method, sql: str, arguments: tuple[Any, ...], tenant: str | None, *, retries: bool
    ) -> Awaitable[Any]:
        statement = statement_of(sql)
        timed = self._timed(statement, method, sql, arguments, tenant or "", retries=retries)
        return _in_span(statement, timed) if self._traced and trace.get_current_span().is_recording() else timed

    async def _timed(
        self,
        statement: Statement,
        method: _Method,
        sql: str,
        arguments: tuple[Any, ...],
        tenant: str,
        *,
        retries: bool,
    ) -> Any:
        started = time.monotonic()
        self._retries.count()
        try:
            try:
                result = await self._breaker.call(self._once, method, sql, arguments, tenant)
            except DRIVER_ERRORS as error:
                if not (retries and statement.reads):
                    raise
                result = await self._retries.after(
                    error, started, self._breaker.call, self._once, method, sql, arguments, tenant
                )
        except DRIVER_ERRORS as error:
            self._raise_ours(error, statement.name)
        except MeshError as error:
            ERRORS.labels(statement.name, type(error).__name__).inc()
            raise
        ended = self._watch.answered_at = time.monotonic()
        statement.observe(ended - started)
        if ended - started > _SLOW_SECONDS:
            _LOG.warning("slow query", query=statement.name, seconds=round(ended - started, 3))
        return result

    async def _once(self, method: _Method, sql: str, arguments: tuple[Any, ...], tenant: str) -> Any:
        lease = self._connections.take_idle(tenant)
        if lease is None:
            lease = await self._connections.take(tenant)
        try:
            if lease.tenant != tenant:
                await _bind(lease, tenant)
            result = await method(lease.connection, sql, *arguments)
        except asyncio.CancelledError:
            self._connections.mend(lease)
            raise
        except BaseException:
            self._connections.give_back(lease)
            raise
        self._connections.give_back(lease)
        return result

    async def _begin(self, tenant: str) -> tuple[Lease, Any]:
        lease = await self._connections.take(tenant)
        try:
            if lease.tenant != tenant:
                await _bind(lease, tenant)
            transaction = lease.connection.transaction()
            await transaction.start()
        except (asyncio.CancelledError, TimeoutError):  # nobody knows whether it has begun
            lease.connection.terminate()
            self._connections.give_back(lease)
            raise
        except BaseException:
            self._connections.give_back(lease)
            raise
        return lease, transaction

    def _timeout(self) -> float:
        """Returns the time in seconds that a transaction may take from now on."""
        call = CURRENT.get()
        if call is None:
            return self._ceiling_seconds
        remaining = call.deadline - time.monotonic()
        if remaining <= 0:
            raise DeadlineExceeded("the caller's time was over before the database was asked")
        return min(remaining, self._ceiling_seconds)

    def _raise_ours(self, error: BaseException, query: str) -> NoReturn:
        """Raises what the caller is told of a driver's error; what says something of the statement stays as it is."""
        ERRORS.labels(query, type(error).__name__).inc()
        told = ours(error, NAME)
        if told is None:
            raise error
        _LOG.warning("a statement failed", query=query, dependency=NAME, exc_info=error)
        raise told from error

    async def _connect(self) -> Connection:
        milliseconds = str(int(self._ceiling_seconds * 1000))
        connection: Connection = await asyncpg.connect(
            self._dsn,
            timeout=_CONNECT_SECONDS,
            statement_cache_size=256,
            max_cached_statement_lifetime=0,
            server_settings={
                "application_name": self._application,
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
                "client_connection_check_interval": "1s",
                "timezone": "UTC",
                "plan_cache_mode": "force_generic_plan" if self._generic_plans else "auto",
            },
        )
        return connection

    def _lost(self, error: Exception) -> None:
        """Ends what waits for a server that takes calls and answers none."""
        self._breaker.trip(error)
        self._connections.cut_off()

    async def _ask(self) -> None:
        try:
            await self._breaker.call(self._probe)
        except Unavailable:  # refused, which tells of statements before and nothing of the server now
            await self._probe()
            if self._watch.state is State.DOWN:
                self._breaker.reset()

    async def _probe(self) -> None:
        """Asks on a connection of its own, so that it needs to wait for none."""
        async with asyncio.timeout(_PROBE_SECONDS):
            connection = self._probe_connection
            try:
                if connection is None or connection.is_closed():
                    connection = self._probe_connection = await self._connect()
                await connection.fetchval("SELECT 1")
            except BaseException:
                if connection is not None:
                    connection.terminate()
                raise


async def _in_span(statement: Statement, work: Awaitable[Any]) -> Any:
    with _TRACER.start_as_current_span(statement.name, kind=trace.SpanKind.CLIENT, attributes=_SPAN):
        return await work


async def _bind(lease: Lease, tenant: str) -> None:
    lease.tenant = None
    await lease.connection.fetchval(_BIND, tenant)
    lease.tenant = tenant


async def _roll_back(lease: Lease, transaction: Any) -> None:
    """Undoes the transaction; where that fails, ends the connection, which undoes it too."""
    if not lease.connection.is_closed():
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await transaction.rollback()
        except (*DRIVER_ERRORS, asyncio.CancelledError):
            lease.connection.terminate()
