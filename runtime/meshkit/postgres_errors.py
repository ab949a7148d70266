"""What the errors of asyncpg say: that the database fails, that it answers, that asking again may help."""

from typing import Final

import asyncpg

from meshkit.errors import DeadlineExceeded, InvalidInput, MeshError, Reason, Unavailable

DRIVER_ERRORS: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# The connection is gone, or could not be made.
_LOST: Final = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
)
# OSError holds TimeoutError too. A primary that became a standby answers, but with read-only errors.
_FAILURES: Final = (
    *_LOST,
    OSError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InternalClientError,
)


def is_failure(error: BaseException) -> bool | None:
    """Tells the failures of the database from its answers; None for an error that is neither."""
    if isinstance(error, Unavailable):  # no connection was free; only one that could not be made tells of the database
        return is_failure(error.__cause__) if error.__cause__ is not None else None
    if isinstance(error, _FAILURES) or _is_closed(error):
        return True
    return False if isinstance(error, asyncpg.PostgresError) else None


def may_pass(error: BaseException) -> bool:
    """Tells whether a read may be asked again: the connection broke, or another transaction was in the way."""
    return isinstance(error, (*_LOST, asyncpg.TransactionRollbackError)) or _is_closed(error)


def ours(error: BaseException, dependency: str) -> MeshError | None:
    """Returns what a caller is told of the error, or None when it says something of the statement itself."""
    if isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
        return DeadlineExceeded("the database did not answer in time")
    if isinstance(error, asyncpg.TransactionRollbackError):
        return Unavailable("another transaction was in the way", dependency=dependency, retry_after_seconds=0.1)
    if isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        # The rules of the protos name the field where they know it; this is for the field that they forgot.
        return InvalidInput("request", "holds a NUL character, which no text may", reason=Reason.MALFORMED_REQUEST)
    if is_failure(error):
        return Unavailable(f"{dependency} does not answer", dependency=dependency)
    return None


def _is_closed(error: BaseException) -> bool:
    # asyncpg has no class of its own for a connection that closed under the statement.
    return isinstance(error, asyncpg.InterfaceError) and "connection is closed" in str(error)
