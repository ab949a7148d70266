#!/bin/sh
# Installs what a fresh Debian or Ubuntu lacks: Python, Postgres with PostGIS, Redis, and the virtualenv from
# requirements.lock. What is there is left alone, and when nothing is missing it ends in an instant.
set -eu
cd "$(dirname "$0")/../.."

OLDEST_PYTHON="3.11"
SYSTEM_PYTHON="/usr/bin/python3"
STAMP=".venv/geomesh-stamp"

say() { printf '%s\n' "$*" >&2; }
fail() { say ""; say "$*"; exit 1; }

find_python() {
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if is_new_enough "$candidate"; then
      faster_of "$(command -v "$candidate")" "$SYSTEM_PYTHON"
      return
    fi
  done
}

is_new_enough() {
  command -v "$1" >/dev/null 2>&1 &&
    "$1" -c 'import sys; sys.exit(sys.version_info < tuple(map(int, sys.argv[1].split("."))))' "$OLDEST_PYTHON" 2>/dev/null
}

# Prints the second Python, the distribution's, in the place of one that was compiled without optimizing for what it runs,
# as tools that compile Python at home do by default: the services answer a tenth more calls; see docs/decisions.md.
faster_of() {
  if [ "$1" != "$2" ] && ! is_optimized "$1" && is_new_enough "$2" && can_make_virtualenvs "$2"; then
    echo "$2"
  else
    echo "$1"
  fi
}

is_optimized() {
  "$1" -c 'import sys, sysconfig
sys.exit(sys.base_prefix != "/usr" and "--enable-optimizations" not in (sysconfig.get_config_var("CONFIG_ARGS") or ""))'
}

can_make_virtualenvs() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

# Prints the versions of Postgres that have what $1 names, the newest first.
postgres_versions_with() {
  for path in /usr/lib/postgresql/*/bin/postgres; do
    version=${path#/usr/lib/postgresql/}
    version=${version%%/*}
    case $1 in
      server) [ -x "$path" ] && echo "$version" ;;
      postgis) [ -x "$path" ] && [ -e "/usr/share/postgresql/$version/extension/postgis.control" ] && echo "$version" ;;
    esac
  done | sort -rn
}

# Prints the apt packages that are missing, one a line.
missing_packages() {
  python=$(find_python)
  if [ ! -x .venv/bin/python ]; then
    if [ -z "$python" ]; then
      first_available python3.13-venv python3.12-venv python3.11-venv python3-venv
    elif ! can_make_virtualenvs "$python"; then
      case $python in
        /usr/bin/python3) echo python3-venv ;;
        *) echo "$(basename "$python")-venv" ;;
      esac
    fi
  fi
  if [ -z "$(postgres_versions_with postgis)" ]; then
    installed=$(postgres_versions_with server | head -n 1)
    if [ -n "$installed" ]; then
      echo "postgresql-$installed-postgis-3"
    else
      apt-cache search --names-only '^postgresql-[0-9]+-postgis-3$' | cut -d ' ' -f 1 | sort -t - -k 2 -rn | head -n 1 |
        grep . || echo postgresql-postgis
    fi
  fi
  command -v redis-server >/dev/null 2>&1 || echo redis-server
}

first_available() {
  for package in "$@"; do
    if apt-cache show "$package" >/dev/null 2>&1; then
      echo "$package"
      return
    fi
  done
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif [ -t 0 ]; then
    sudo "$@"
  else
    sudo -n "$@"
  fi
}

install_packages() {
  packages=$(missing_packages | tr '\n' ' ')
  [ -z "$packages" ] && return
  if ! command -v apt-get >/dev/null 2>&1; then
    fail "This is neither Debian nor Ubuntu. Please install Python >= $OLDEST_PYTHON with venv, Postgres >= 15 with PostGIS >= 3.3,
and Redis >= 7 by the means of your system, or use the containers of deploy/compose instead."
  fi
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
    fail "These packages are missing, and only root may install them:

    apt-get install --no-install-recommends $packages

Run that as root (or have it run), then the same command again."
  fi
  say "  installing: $packages"
  # The names depend on what the distribution has, which a machine that was never updated does not know.
  as_root apt-get update -qq || say "  apt-get update failed; trying with the lists that are there"
  packages=$(missing_packages | tr '\n' ' ')
  # shellcheck disable=SC2086 # a list of words
  as_root sh deploy/local/install.sh $packages
  [ -z "$(missing_packages)" ] || fail "apt-get did not bring everything; still missing: $(missing_packages | tr '\n' ' ')"
}

# Prints a digest of all that the virtualenv is made from.
virtualenv_inputs() {
  cat requirements.lock runtime/pyproject.toml runtime/stubs/pyproject.toml clients/python/pyproject.toml services/*/pyproject.toml gateway/pyproject.toml deploy/local/pyproject.toml |
    sha256sum | cut -d ' ' -f 1
}

make_virtualenv() {
  wanted=$(virtualenv_inputs)
  # The folder is part of it, because a virtualenv that was moved does not work.
  wanted="$wanted $(pwd)"
  if [ -x .venv/bin/python ] && [ "$(cat "$STAMP" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  if ! .venv/bin/python -c '' 2>/dev/null; then
    python=$(find_python)
    [ -n "$python" ] || fail "Python >= $OLDEST_PYTHON is needed, and there is none on the PATH."
    say "  making .venv with $python"
    "$python" -m venv --clear .venv || fail "$python could not make a virtualenv; see above."
  fi
  say "  installing the packages of requirements.lock"
  uv_lock=$(mktemp)
  # uv comes by its hash too; everything else then comes by uv, which takes seconds where pip takes minutes.
  awk '/^uv==/ {inside = 1} inside {print} inside && !/\\$/ {exit}' requirements.lock >"$uv_lock"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$uv_lock" ||
    fail "The package uv could not be installed; is the package index reachable?"
  rm -f "$uv_lock"
  .venv/bin/uv pip install --quiet --python .venv/bin/python --require-hashes -r requirements.lock ||
    fail "The packages of requirements.lock could not be installed; see above."
  set -- -e runtime/stubs -e runtime -e gateway -e deploy/local -e clients/python
  for service in services/*/; do
    set -- "$@" -e "./${service%/}"
  done
  .venv/bin/uv pip install --quiet --python .venv/bin/python --no-build-isolation --no-deps "$@" ||
    fail "The packages of this repository could not be installed; see above."
  # Kept beside the source, so that no process needs ten seconds for it when it starts.
  say "  compiling the interpolation of airquality"
  .venv/bin/python -c 'import airquality.interpolation' || fail "airquality could not be compiled; see above."
  printf '%s\n' "$wanted" >"$STAMP"
}

install_packages
make_virtualenv
