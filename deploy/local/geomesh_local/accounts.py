"""Which account Postgres runs as: it refuses root, and another account may not reach everything that root can."""

import hashlib
import os
import pwd
import shutil
import subprocess
from pathlib import Path

from geomesh_local.errors import StackError

_UNPRIVILEGED = ("postgres", "nobody")
_SHARED_HOME = Path("/var/lib/geomesh")


def database_account() -> str | None:
    """Returns the account to run Postgres as, or None for the one that runs the stack."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in _UNPRIVILEGED:
        if name in known:
            return name
    raise StackError("Postgres refuses to run as root, and there is no account postgres or nobody to run it as")


def run_as(account: str | None, *command: str, cwd: Path | str = "/") -> subprocess.CompletedProcess[str]:
    """Runs a program as another account and returns what it wrote."""
    group = None if account is None else pwd.getpwnam(account).pw_gid
    groups: list[str] | None = None if account is None else []
    return subprocess.run(  # noqa: S603 -- the callers' programs are constants
        command, user=account, group=group, extra_groups=groups, cwd=cwd, capture_output=True, text=True, check=False
    )


def make_data_folder(link: Path, account: str | None) -> Path:
    """Makes a folder that the account can reach, at `link` or, where it cannot get there, linked from it.

    A checkout under /root is such a place: nobody but root passes /root.

    Returns:
        The folder itself.
    """
    if link.is_symlink() or link.is_dir():
        link.resolve().mkdir(parents=True, exist_ok=True)
        return link.resolve()
    folder = link
    if account is not None and run_as(account, "test", "-x", str(link.parent)).returncode != 0:
        folder = _SHARED_HOME / hashlib.sha256(str(link).encode()).hexdigest()[:12]
        shutil.rmtree(folder, ignore_errors=True)  # of a run folder that was deleted by hand
        _SHARED_HOME.mkdir(mode=0o755, exist_ok=True)
        link.symlink_to(folder)
    folder.mkdir(mode=0o700)
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    return folder


def remove_data_folder(link: Path) -> None:
    """Removes the folder, where `make_data_folder` made it, and the link to it."""
    if not link.is_symlink():
        shutil.rmtree(link, ignore_errors=True)
        return
    if link.resolve().parent == _SHARED_HOME:  # a link that somebody else made may lead to what is not ours
        shutil.rmtree(link.resolve(), ignore_errors=True)
    link.unlink()
