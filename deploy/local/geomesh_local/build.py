"""Tells whether what a program is made of has changed."""

import hashlib
from functools import cache
from pathlib import Path

_SOURCES = {".py", ".sql", ".lua", ".conf", ".lock", ".binpb", ".yaml", ".json", ".csv", ".gz", ".html", ".js", ".css"}


@cache
def build_of(*paths: Path) -> str:
    """Returns a digest of the source files at and under the paths; read once per run of this program."""
    digest = hashlib.sha256()
    for path in paths:
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.suffix in _SOURCES and file.is_file():
                digest.update(str(file).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
