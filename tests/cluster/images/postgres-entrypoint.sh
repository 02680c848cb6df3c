#!/bin/bash
# What the official image does, in short: makes the database on the first start from POSTGRES_USER,
# POSTGRES_PASSWORD (or the files they name with _FILE) and POSTGRES_DB, runs what lies in
# /docker-entrypoint-initdb.d, then becomes the server.
set -euo pipefail

value_of() { # VARIABLE DEFAULT
  local file_variable=${1}_FILE
  if [[ -n ${!file_variable:-} ]]; then
    cat "${!file_variable}"
  else
    printf %s "${!1:-$2}"
  fi
}

first_start() {
  local user password database file
  user=$(value_of POSTGRES_USER postgres)
  password=$(value_of POSTGRES_PASSWORD '')
  database=$(value_of POSTGRES_DB "$user")
  if [[ -z $password && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
    echo "POSTGRES_PASSWORD is needed to make the database" >&2
    exit 1
  fi
  # shellcheck disable=SC2086 # Several options in one variable, as in the official image.
  initdb --username="$user" --pwfile=<(printf '%s\n' "$password") --auth-local=trust \
    --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
  echo "host all all all ${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
  # Only on its socket, so that nobody takes the half-made database for the finished one.
  pg_ctl --wait start -o "-c listen_addresses=''"
  export PGUSER=$user PGDATABASE=$database
  if [[ $database != postgres ]]; then createdb --maintenance-db=postgres "$database"; fi
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh) bash "$file" ;;
      *.sql) psql -v ON_ERROR_STOP=1 --no-psqlrc -f "$file" ;;
    esac
  done
  pg_ctl --wait --mode=fast stop
  unset PGUSER PGDATABASE
}

if [[ ${1:-} == -* ]]; then set -- postgres "$@"; fi
if [[ $1 != postgres ]]; then exec "$@"; fi
if ((EUID == 0)); then
  install -d -m 700 -o postgres -g postgres "$PGDATA"
  install -d -m 3775 -o postgres -g postgres /var/run/postgresql
  chown -R postgres:postgres "$PGDATA"
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
if [[ ! -s $PGDATA/PG_VERSION ]]; then first_start; fi
exec "$@"
