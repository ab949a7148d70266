"""The statements of `sql/queries.sql`, for the modules that keep something in Postgres."""

from typing import Final

from meshkit.postgres import load_queries

QUERIES: Final = load_queries("auth")
