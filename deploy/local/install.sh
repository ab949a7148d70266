#!/bin/sh
# Installs apt packages as root without the side effects that a database server's packages have: Debian would make a
# cluster and start it, and start Redis. Neither is ours, so neither shall exist; what was there before stays as it was.
set -eu

POLICY=/usr/sbin/policy-rc.d
CLUSTERS=/etc/postgresql-common/createcluster.conf
SAVED=$(mktemp -d)

restore() {
  rm -f "$POLICY"
  [ ! -e "$SAVED/policy" ] || mv "$SAVED/policy" "$POLICY"
  [ ! -e "$SAVED/clusters" ] || cat "$SAVED/clusters" >"$CLUSTERS"
  rm -rf "$SAVED"
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install() {
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --yes --no-install-recommends "$@" >"$SAVED/log" 2>&1 || {
    cat "$SAVED/log" >&2
    exit 1
  }
}

had_redis=$(command -v redis-server || true)
[ ! -e "$POLICY" ] || mv "$POLICY" "$SAVED/policy"
printf '#!/bin/sh\nexit 101\n' >"$POLICY" # invoke-rc.d starts nothing
chmod 755 "$POLICY"

case " $* " in
  *" postgresql-"*)
    install postgresql-common
    cp "$CLUSTERS" "$SAVED/clusters"
    echo 'create_main_cluster = false' >>"$CLUSTERS"
    ;;
esac
install "$@"

# Nor at the next start of the machine, if it was us who brought it.
if [ -z "$had_redis" ] && command -v systemctl >/dev/null 2>&1; then
  systemctl disable --quiet redis-server.service 2>/dev/null || true
fi
