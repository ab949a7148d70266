"""Writes docs/settings.md from the settings classes themselves: ``python -m geomesh_local.settings_page [--out FILE]``."""

import argparse
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from annotated_types import Ge, Gt, Le, Lt
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from gateway.settings import EdgeSettings
from geomesh_local.ports import GATEWAY, LIMITS, SERVICES
from geomesh_local.stack import CHECKOUT
from meshkit.settings import ServiceSettings

PAGE = CHECKOUT / "docs" / "settings.md"
HEAD = """# Settings

Written by `make protos` from the code; do not edit. Every setting is an environment variable. One that holds a secret
can be given as a file instead, by the same name with `_FILE` at its end. A setting that cannot be understood stops the
start with one line that names it.

The local stack has a few of its own, given to `make up`: `GEOMESH_EDGE_PORT` (8080), `GEOMESH_EDGE_ADMIN_PORT` (9901),
`GEOMESH_PORT_BASE` (18000, the lowest of the other ports), `GEOMESH_REPLICAS` (1, processes per service) and
`GEOMESH_EDGE_WORKERS` (1, Envoy's threads). `GEOMESH_TLS=1` turns TLS on everywhere, with certificates in
`GEOMESH_CERTS_DIR` (`.run/certs`) that also prove the names and addresses of the edge in `GEOMESH_CERTS_NAMES`
(separated by spaces, beside those of this machine). Other variables below that are set when `make up` runs reach the service
they name.
"""


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.parse_args().out.write_text(HEAD + "".join(_sections()))


def _sections() -> Iterator[str]:
    yield "\n## Every service\n\nWith the service's name for `<SERVICE>`, e.g. `GEOMESH_SPATIAL_INDEX_PORT`.\n\n"
    yield _table("GEOMESH_<SERVICE>_", ServiceSettings.model_fields)
    for service in (*SERVICES, GATEWAY, LIMITS):
        package = "gateway.limits" if service == LIMITS else service.replace("-", "_")
        settings = importlib.import_module(f"{package}.settings").Settings
        own = {
            name: field
            for name, field in settings.model_fields.items()
            if name not in ServiceSettings.model_fields or field.default != ServiceSettings.model_fields[name].default
        }
        if own:
            yield f"\n## {service}\n\n" + _table(_prefix(settings), own)
    yield "\n## Envoy\n\nRead when its configuration is rendered.\n\n"
    yield _table(_prefix(EdgeSettings), EdgeSettings.model_fields)


def _prefix(settings: type[BaseSettings]) -> str:
    return str(settings.model_config["env_prefix"])


def _table(prefix: str, fields: dict[str, FieldInfo]) -> str:
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(field)} | {_bounds(field)} | {field.description} |\n"
        for name, field in sorted(fields.items())
    ]
    return "| variable | default | range | meaning |\n|---|---|---|---|\n" + "".join(rows)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, Path) and value.is_relative_to(CHECKOUT):
        return f"`{value.relative_to(CHECKOUT)}/` of the checkout"
    return f"`{value}`" if value not in ("", None) else "empty"


def _bounds(field: FieldInfo) -> str:
    signs = {Ge: "≥", Gt: ">", Le: "≤", Lt: "<"}
    return ", ".join(
        f"{sign} {getattr(rule, kind.__name__.lower())}"
        for rule in field.metadata
        for kind, sign in signs.items()
        if isinstance(rule, kind)
    )


if __name__ == "__main__":
    main()
