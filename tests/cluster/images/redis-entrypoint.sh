#!/bin/sh
# What the official image does: run as the user redis, take bare options as options of the server,
# and leave protected mode off, because whoever reaches the container's port was let in.
set -eu

case "${1:-}" in
  -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "$1" != redis-server ]; then exec "$@"; fi

shift
# A configuration file has to come first, and then decides about protected mode itself.
case "${1:-}" in
  '' | -*) set -- --protected-mode no "$@" ;;
esac
if [ "$(id -u)" != 0 ]; then exec redis-server "$@"; fi
find . ! -user redis -exec chown redis:redis {} +
exec setpriv --reuid=redis --regid=redis --init-groups redis-server "$@"
