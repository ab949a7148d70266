"""Named SQL: what a ``queries.sql`` must look like, and what becomes of it."""

import importlib
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from meshkit.queries import load_queries, statement_of

_CHECKOUT = Path(__file__).resolve().parents[2]
_SERVICES = sorted(path.parents[1].name for path in _CHECKOUT.glob("services/*/*/sql/queries.sql"))

Package = Callable[[str], str]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """Makes a package with this ``queries.sql`` and returns its name."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(sql: str) -> str:
        name = f"made_{uuid.uuid4().hex}"
        (tmp_path / name / "sql").mkdir(parents=True)
        (tmp_path / name / "__init__.py").touch()
        (tmp_path / name / "sql/queries.sql").write_text(sql)
        importlib.invalidate_caches()
        return name

    return make


def test_a_statement_begins_with_its_name_in_a_comment_and_ends_without_a_semicolon(package: Package) -> None:
    name = package("-- name: find_one\n-- Finds one.\nSELECT 1\nFROM things\nWHERE id = $1::int;\n")
    assert load_queries(name) == {"find_one": f"/* {name}.find_one */ SELECT 1\nFROM things\nWHERE id = $1::int"}


def test_comments_do_not_travel_with_a_statement(package: Package) -> None:
    name = package("-- name: one\n-- Finds one.\n-- Slowly.\nSELECT 1\n  -- why\nFROM things;\n")
    assert load_queries(name)["one"].endswith("*/ SELECT 1\nFROM things")


def test_a_file_may_begin_with_comments_and_hold_many_statements(package: Package) -> None:
    name = package("-- Of things.\n\n-- name: one\n-- One.\nSELECT 1;\n\n-- name: two\n-- Two.\nSELECT 2;\n")
    assert list(load_queries(name)) == ["one", "two"]


@pytest.mark.parametrize(
    ("sql", "complaint"),
    [
        ("SELECT 0;\n-- name: one\n-- One.\nSELECT 1;\n", "before the first"),
        ("-- name: One\n-- One.\nSELECT 1;\n", "`One` is no name"),
        ("-- name:\n-- One.\nSELECT 1;\n", "`` is no name"),
        ("-- name: 1st\n-- One.\nSELECT 1;\n", "`1st` is no name"),
        ("-- name: one\n-- One.\nSELECT 1;\n-- name: one\n-- One.\nSELECT 1;\n", "`one` is no name of its own"),
        ("-- name: one\nSELECT 1;\n", "a comment that says what `one` does"),
        ("-- name: one\n-- One.\n\n;\n", "`one` has no statement"),
        ("-- name: one\n-- One.\n", "`one` has no statement"),
    ],
)
def test_a_file_that_leaves_a_reader_guessing_is_refused(package: Package, sql: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        load_queries(package(sql))


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("WITH a AS (SELECT 1) SELECT * FROM a", True),
        ("SELECT inserted_at, last_update FROM deletes", True),
        ("INSERT INTO things VALUES (1) RETURNING id", False),
        ("WITH gone AS (DELETE FROM things RETURNING id) SELECT * FROM gone", False),
        ("SELECT * FROM things FOR UPDATE", False),
        ("Merge INTO things USING others ON true WHEN MATCHED THEN DO NOTHING", False),
        ("CALL tidy()", False),
    ],
)
def test_only_a_statement_that_writes_nothing_by_its_words_may_be_repeated(
    package: Package, sql: str, *, reads: bool
) -> None:
    name = package(f"-- name: one\n-- One.\n{sql};\n")
    known = statement_of(load_queries(name)["one"])
    assert (known.name, known.reads) == (f"{name}.one", reads)


def test_a_statement_from_no_file_has_no_name_and_is_never_repeated() -> None:
    known = statement_of("SELECT 1")
    assert (known.name, known.reads) == ("unnamed", False)


@pytest.mark.parametrize("service", _SERVICES)
def test_every_service_has_statements_that_can_be_loaded(service: str) -> None:
    assert load_queries(service)
