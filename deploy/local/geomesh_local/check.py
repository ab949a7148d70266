"""Everything that can be judged without running the product; all of it is judged, then failures are told together."""

import filecmp
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from geomesh_local.errors import StackError
from geomesh_local.stack import CHECKOUT

_TYPED = ("runtime/meshkit", "services", "gateway", "clients/python", "deploy/local", "protos", "bench", "tests")
_GENERATED = ("geomesh", "buf")
_RELEASED = CHECKOUT / "protos" / "released.binpb"
_LINK_SETTINGS = "[tool.md_dead_link_check]\ncheck_web_links = false  # a check must not depend on the network\n"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found; nothing means that all is well."""

    name: str
    complaints: str
    seconds: float


def command_check() -> None:
    """Checks format, lint, types, imports, protos, edge, links, containers and the lock."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = _checks(Path(folder))
        verdicts = []
        for verdict in pool.map(_judge, checks, checks.values()):
            sys.stdout.write(
                f"  {verdict.name}: {'FAILED' if verdict.complaints else 'ok'} ({verdict.seconds:.1f} s)\n"
            )
            sys.stdout.flush()
            verdicts.append(verdict)
    if failed := [verdict for verdict in verdicts if verdict.complaints]:
        details = "\n\n".join(f"--- {verdict.name}\n{verdict.complaints}" for verdict in failed)
        raise StackError(f"{details}\n\n{len(failed)} of {len(verdicts)} checks failed")


def _checks(folder: Path) -> dict[str, Callable[[], str]]:
    """Returns the checks by name, the longest first."""
    (folder / "links.toml").write_text(_LINK_SETTINGS)
    typed = [path for path in _TYPED if (CHECKOUT / path).exists()]
    return {
        "types (mypy)": lambda: _run("mypy", *typed),
        "imports (lint-imports)": lambda: _run("lint-imports", "--no-cache"),
        "protos (buf, drift)": lambda: _protos(folder),
        "settings page (drift)": lambda: _settings_page(folder),
        "the client's services (drift)": lambda: _client(folder),
        "edge (envoy --mode validate)": lambda: _run("python", "-m", "gateway.validate"),
        "lint (ruff)": lambda: _run("ruff", "check", "--quiet"),
        "format (ruff)": lambda: _run("ruff", "format", "--check", "--quiet"),
        "links (md-dead-link-check)": lambda: _run("md-dead-link-check", "-nc", f"--config={folder / 'links.toml'}"),
        "Dockerfiles (hadolint)": lambda: _run("hadolint", "--no-color", *_found("deploy/**/Dockerfile*")),
        "compose (check-jsonschema)": lambda: _run(
            "check-jsonschema", "--quiet", "--builtin-schema=vendor.compose-spec", *_found("deploy/compose/*.yaml")
        ),
        "lock has no addresses": _lock,
    }


def _judge(name: str, check: Callable[[], str]) -> Verdict:
    start = time.monotonic()
    complaints = check()
    return Verdict(name, complaints, time.monotonic() - start)


def _run(program: str, *arguments: str) -> str:
    """Runs a tool of this virtualenv in the checkout and returns what it wrote if it failed."""
    path = Path(sys.executable).with_name(program)
    finished = subprocess.run(  # noqa: S603 -- our own tools
        [str(path), *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    if finished.returncode == 0:
        return ""
    return f"{finished.stdout}{finished.stderr}".strip() or f"{program} ended with {finished.returncode}"


def _protos(folder: Path) -> str:
    image = folder / "image.binpb"
    if problem := _run("python", "protos/generate.py", f"--out={folder}", f"--image={image}"):
        return problem
    complaints = [
        _run("buf", "lint", str(image), "--path=geomesh"),
        _run("buf", "format", "--diff", "--exit-code", "protos"),
        *_drift(folder),
        *_reference(folder, image),
    ]
    if _RELEASED.exists():
        complaints.append(_run("buf", "breaking", str(image), f"--against={_RELEASED}", "--path=geomesh"))
    return "\n".join(filter(None, complaints))


def _drift(folder: Path) -> Iterator[str]:
    runtime = CHECKOUT / "runtime"
    for package in _GENERATED:
        fresh = {path.relative_to(folder) for path in (folder / package).rglob("*") if path.is_file()}
        kept = {path.relative_to(runtime) for path in (runtime / package).rglob("*") if path.is_file()}
        kept = {path for path in kept if "__pycache__" not in path.parts}
        _, differing, _ = filecmp.cmpfiles(folder, runtime, [str(path) for path in fresh & kept], shallow=False)
        for path in sorted({*map(str, fresh ^ kept), *differing}):
            yield f"runtime/{path} is not what the protos say; run `make protos` and commit the result"


def _reference(folder: Path, image: Path) -> Iterator[str]:
    """Yields what differs of the OpenAPI document and the pages made with it."""
    document, pages = folder / "openapi.json", folder / "api-reference"
    arguments = [f"--image={image}", f"--out={document}", f"--pages={pages}"]
    if problem := _run("python", "-m", "gateway.openapi", *arguments):
        yield problem
        return
    kept_pages = CHECKOUT / "docs" / "api-reference"
    pairs = {document: CHECKOUT / "gateway" / "gateway" / "openapi.json"}
    pairs |= {page: kept_pages / page.name for page in pages.iterdir()}
    pairs |= {pages / page.name: page for page in kept_pages.glob("*.md")}
    for fresh, kept in pairs.items():
        if not (fresh.exists() and kept.exists() and filecmp.cmp(fresh, kept, shallow=False)):
            yield f"{kept.relative_to(CHECKOUT)} is not what the protos say; run `make protos` and commit the result"
    yield _run("openapi-spec-validator", "--errors=all", str(document))


def _settings_page(folder: Path) -> str:
    fresh, kept = folder / "settings.md", CHECKOUT / "docs" / "settings.md"
    if problem := _run("python", "-m", "geomesh_local.settings_page", f"--out={fresh}"):
        return problem
    same = kept.exists() and kept.read_text() == fresh.read_text()
    return "" if same else "docs/settings.md is not what the code says; run `make protos` and commit the result"


def _client(folder: Path) -> str:
    fresh, kept = folder / "services.py", CHECKOUT / "clients" / "python" / "geomesh_client" / "services.py"
    if problem := _run("python", "protos/client_services.py", f"--out={fresh}"):
        return problem
    same = kept.exists() and kept.read_text() == fresh.read_text()
    return "" if same else f"{kept.relative_to(CHECKOUT)} is not what the protos say; run `make protos` and commit it"


def _found(pattern: str) -> list[str]:
    return [str(path) for path in sorted(CHECKOUT.glob(pattern))]


def _lock() -> str:
    lines = (CHECKOUT / "requirements.lock").read_text().splitlines()
    return "\n".join(f"requirements.lock:{number}: {line}" for number, line in enumerate(lines, 1) if "://" in line)
