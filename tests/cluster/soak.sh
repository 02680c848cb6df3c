# Whether half an hour of load leaves anything behind: memory and open files of the agents, entries of
# connection tracking. Sourced by bench.sh, after services.sh; only when it is asked for by name.
# shellcheck shell=bash disable=SC2153,SC2154

SOAK_S=${SOAK_S:-1800}
readonly SOAK_S SOAK_WARM_S=180 SOAK_RATE=200

# `memory kB, open files, tracked connections` of a host.
left_on() { # HOST
  local pid
  pid=$(lab pid "$1" agent)
  echo "$(awk '/^VmRSS/ { print $2 }' "/proc/$pid/status") $(find "/proc/$pid/fd" -mindepth 1 | wc -l)" \
    "$(lab exec "$1" cat /proc/sys/net/netfilter/nf_conntrack_count)"
}

# Connections to a service from each host, questions for its name, and a stream of packets.
begin_load() { # ADDRESS SECONDS
  local n client
  for n in 1 2 3; do
    client=$(process_of "h$n" client)
    lab exec "h$n" nsenter -t "$client" -n \
      python3 "$HERE/connections.py" steady "$1" "$PORT" "$SOAK_RATE" "$2" >"$WORK/soak.$n" &
    LOAD+=($!)
    lab exec "h$n" docker exec "$(lab exec "h$n" docker ps -q --filter label=muster.service=client)" \
      python3 -c 'import socket, sys, time
end = time.monotonic() + int(sys.argv[1])
while time.monotonic() < end:
    socket.getaddrinfo("server", 1); time.sleep(0.01)' "$2" &
    LOAD+=($!)
  done
  lab exec h2 nsenter -t "$(process_of h2 client)" -n iperf3 -s -D -1 >/dev/null
  lab exec h1 nsenter -t "$(process_of h1 client)" -n iperf3 -u -b 20M -t "$2" -c \
    "$(lab exec h2 nsenter -t "$(process_of h2 client)" -n ip -4 -br address show eth0 | awk '{ sub("/.*", "", $3); print $3 }')" \
    >"$WORK/soak.udp" &
  LOAD+=($!)
}

bench_soak() {
  local address n began opened failed LOAD=() first=() latest=() first_of last_of
  overlay_tools || return 0
  with_muster || return 0
  form_hosts 3 "$PYTHON"
  write_leaving_app
  (cd "$WORK/leaving" && lab exec h1 "$MUSTER" up >"$WORK/leaving.log" 2>&1) || fail "$(tail -n 5 "$WORK/leaving.log")"
  address=$(service_address leaving server)
  began=$SECONDS
  begin_load "$address" "$SOAK_S"
  while ((SECONDS - began < SOAK_S - 10)); do
    sleep 60
    latest=()
    for n in 1 2 3; do latest+=("$(left_on "h$n")"); done
    say "after $((SECONDS - began)) s, kB, files, connections: ${latest[0]} | ${latest[1]} | ${latest[2]}"
    if ((SECONDS - began >= SOAK_WARM_S && ! ${#first[@]})); then first=("${latest[@]}"); fi
  done
  wait "${LOAD[@]}" || fail "the load ended badly: $(cat "$WORK"/soak.*)"
  opened=$(awk '{ n += $1 } END { print n }' "$WORK"/soak.[123]) failed=$(awk '{ n += $2 } END { print n }' "$WORK"/soak.[123])
  for n in 0 1 2; do
    read -r -a first_of <<<"${first[n]}"
    read -r -a last_of <<<"${latest[n]}"
    figure "h$((n + 1)) after $SOAK_S s: agent, resident" "${last_of[0]}" "target (1.05 of $SOAK_WARM_S s)" "$((first_of[0] * 105 / 100))" kB
    figure "h$((n + 1)) after $SOAK_S s: open files" "${last_of[1]}" "target (4 above $SOAK_WARM_S s)" "$((first_of[1] + 4))" ""
    figure "h$((n + 1)) after $SOAK_S s: tracked connections" "${last_of[2]}" "target (1.2 of $SOAK_WARM_S s)" "$((first_of[2] * 12 / 10))" ""
  done
  figure "connections failed of $opened" "$failed" "target" 0 ""
}
