"""Named SQL: every statement of a service stands in its ``sql/queries.sql``, under a name and with a reason."""

import re
from collections.abc import Mapping
from importlib import resources
from typing import Final

from prometheus_client import Counter, Histogram

_DURATION = Histogram(
    "geomesh_database_query_duration_seconds",
    "Time from asking for a statement to its result, with the wait for a connection.",
    ["query"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
ERRORS = Counter("geomesh_database_errors", "Statements that failed, by their error.", ["query", "error"])

_WRITING: Final = frozenset({"insert", "update", "delete", "merge", "truncate", "call", "do"})
_HEAD = re.compile(r"^--\s*name:\s*(\S*)[^\S\n]*\n", re.MULTILINE)
_IDENTIFIER = re.compile(r"[a-z][a-z0-9_]*")


class Statement:
    """What is known of a statement.

    Attributes:
        name: Its name in metrics, logs and spans.
        reads: Whether it changes nothing by its words, so that it may be repeated.
        observe: Notes how many seconds it took.
    """

    __slots__ = ("name", "observe", "reads")

    def __init__(self, name: str, *, reads: bool) -> None:
        self.name = name
        self.reads = reads
        self.observe = _DURATION.labels(name).observe


_NAMED: Final[dict[str, Statement]] = {}
# A statement that was written in the code is not repeated: nobody has looked at its words.
_UNNAMED: Final = Statement("unnamed", reads=False)


def load_queries(package: str) -> Mapping[str, str]:
    """Reads ``<package>/sql/queries.sql``.

    Args:
        package: The import name of the service's package.

    Returns:
        The text of each statement by its name. The text begins with the name in a comment, so that it is found again
        in Postgres's own logs and statistics.

    Raises:
        ValueError: A statement has a bad name, one that another has, no comment that describes it, or no text.
    """
    path = resources.files(package).joinpath("sql/queries.sql")
    queries = {
        name: f"/* {package}.{name} */ {sql}"
        for name, sql in _parse(path.read_text(encoding="utf-8"), str(path)).items()
    }
    for name, sql in queries.items():
        _NAMED[sql] = Statement(f"{package}.{name}", reads=not _WRITING.intersection(re.findall(r"\w+", sql.lower())))
    return queries


def statement_of(sql: str) -> Statement:
    """Returns what is known of a statement from a ``queries.sql``; any other is ``unnamed`` and never repeated."""
    return _NAMED.get(sql, _UNNAMED)


def _parse(text: str, path: str) -> dict[str, str]:
    before, *parts = _HEAD.split(text)
    if any(line.strip() and not line.startswith("--") for line in before.splitlines()):
        raise ValueError(f"{path}: there is a statement before the first `-- name:`")
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if not _IDENTIFIER.fullmatch(name) or name in queries:
            raise ValueError(f"{path}: `{name}` is no name of its own in lower_snake_case")
        if not body.startswith("--"):
            raise ValueError(f"{path}: a comment that says what `{name}` does must follow its name")
        sql = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip().rstrip(";")
        if not sql:
            raise ValueError(f"{path}: `{name}` has no statement")
        queries[name] = sql
    return queries
