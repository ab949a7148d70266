#!/bin/sh
# Makes the secrets of the containers, each a file in deploy/compose/secrets; one that is there already is kept.
# The folder is closed to others. The files in it are not, because each is mounted alone into a container whose account
# is another than yours.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets

password() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }
write() {
  [ -e "secrets/$1" ] || printf '%s\n' "$2" >"secrets/$1"
  chmod 644 "secrets/$1"
}

write postgres-password "$(password)"
write admin-dsn "postgresql://postgres:$(cat secrets/postgres-password)@postgres:5432/geomesh"
write owner-dsn "postgresql://geomesh_owner:$(password)@postgres:5432/geomesh"
for service in geocoder spatial-index trajectory airquality auth; do
  role=geomesh_$(echo "$service" | tr - _)
  write "$service-dsn" "postgresql://$role:$(password)@postgres:5432/geomesh"
done
write redis-password "$(password)"
write redis-conf "requirepass $(cat secrets/redis-password)
maxmemory 256mb
maxmemory-policy volatile-lru
save \"\""
write redis-url "redis://:$(cat secrets/redis-password)@redis:6379/0"
write auth-key-encryption-key "$(password)"
write administrator-password "$(password)"
