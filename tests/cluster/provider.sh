#!/bin/sh
# A provider for a shelf of spare machines, as an example (README.md, "More hosts") and for the cluster tests.
#
# Each machine has muster installed, its agent running and in no cluster, and is reached by ssh. SHELF is a folder
# with a file a machine, called as ssh calls it: empty while it is free, else with the key of who uses it.
# `provider.conf` beside this script sets SHELF, and REMOTE where that is not ssh.
set -eu
REMOTE=ssh
. "${0%/*}/provider.conf"

request=$(cat)
# What stands before the first object inside, so that no text of anybody's is taken for it.
field() { printf %s "$request" | sed -n 's/^{[^{]*"'"$1"'":"\([^"]*\)".*/\1/p'; }
join() { printf %s "$request" | sed -n 's/.*"join":{.*"'"$1"'":"\([^"]*\)".*/\1/p'; }
key=$(field key)

yes() { echo '{"accepted":true}' && exit; }
no() { printf '{"accepted":false,"reason":"%s"}\n' "$1" && exit; }

place=
[ -z "$key" ] || place=$(grep -lxr -e "$key" "$SHELF" | head -n 1) || true

case $(field verb) in
  add)
    # Asked again, it is the same machine: whoever asked first may not have heard the answer.
    if [ -z "$place" ]; then
      place=$(find "$SHELF" -type f -empty | sort | head -n 1)
      [ -n "$place" ] || no 'the shelf is empty'
      echo "$key" >"$place"
    elif "$REMOTE" "${place##*/}" muster nodes --quiet >/dev/null 2>&1 </dev/null; then
      yes
    fi
    # By standard input, as arguments are seen by others on a machine.
    join token | "$REMOTE" "${place##*/}" muster join - \
      --name "${place##*/}" --label "muster.provider=$(join muster.provider)" >&2 && yes
    : >"$place"
    no "${place##*/} does not join"
    ;;
  remove)
    # The cluster tells the machine that it was removed, which takes its containers away. It is free again.
    [ -z "$place" ] || : >"$place"
    yes
    ;;
  list)
    keys=$(cat "$SHELF"/* | sed 's/.*/"&"/' | paste -sd, -)
    echo "{\"accepted\":true,\"keys\":[$keys]}"
    ;;
  *) no 'it does not know this verb' ;;
esac
