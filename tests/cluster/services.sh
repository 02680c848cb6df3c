# What a service address costs beside the address of a container, and what new connections to it meet
# when a host dies. Sourced by bench.sh, after overlay.sh.
# shellcheck shell=bash disable=SC2153,SC2154

readonly PYTHON=python:3.11-slim PORT=8000 STEADY_RATE=500 STEADY_S=15

# Takes connections in a container; dies with the lab.
serve_connections() { # HOST PID
  lab spawn "$1" connections "$WORK/connections.log" nsenter -t "$2" -n python3 "$HERE/connections.py" serve "$PORT"
  await 10 lab exec "$1" nsenter -t "$2" -n sh -c "ss -Hltn sport = :$PORT | grep -q ." || fail "no server on $1"
}

# The address of a service of an app.
service_address() { # APP SERVICE
  lab exec h1 "$MUSTER" ps --json -p "$1" |
    python3 -c 'import json, sys
for one in json.load(sys.stdin)["services"]:
    if one["service"] == sys.argv[1]: print(*one["addresses"].values())' "$2"
}

# Sets RATES and STREAMS, each of a container's address and of a service's. The two take turns, as what
# else the machine does comes and goes.
measure_addresses() {
  local round kind to=("$ADDRESS" "$(service_address pair on-h2)") rates=("" "") streams=("" "")
  serve_connections h2 "$(process_of h2 on-h2)"
  for ((round = 1; round <= ROUNDS; round++)); do
    for kind in 0 1; do
      rates[kind]+=" $("${INSIDE_1[@]}" python3 "$HERE/connections.py" rate "${to[kind]}" "$PORT" 3)"
      streams[kind]+=" $(stream "${to[kind]}" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}")"
    done
  done
  for kind in 0 1; do
    # shellcheck disable=SC2086
    RATES[kind]=$(median ${rates[kind]}) STREAMS[kind]=$(median ${streams[kind]})
  done
}

part() { awk -v a="$1" 'BEGIN { printf "%d", a * 0.95 }'; }

write_dying_app() {
  mkdir -p "$WORK/dying"
  cp "$HERE/connections.py" "$WORK/dying/"
  cat >"$WORK/dying/compose.yaml" <<EOF
services:
  server:
    image: $PYTHON
    command: python3 /connections.py serve $PORT
    stop_signal: SIGKILL
    configs: [{ source: connections, target: /connections.py }]
    healthcheck:
      test: ["CMD", "python3", "/connections.py", "rate", "127.0.0.1", "$PORT", "0"]
      interval: 1s
    deploy: { replicas: 3 }
  client:
    image: $PYTHON
    command: sleep 3600
    stop_signal: SIGKILL
    deploy: { placement: { constraints: ["node.hostname==h1"] } }
configs:
  connections: { file: ./connections.py }
EOF
}

# Opens connections to a service of three replicas; a third of the way the power of one's host is cut.
measure_death() {
  local address report=$WORK/steady opening
  form_hosts 3 "$PYTHON"
  write_dying_app
  (cd "$WORK/dying" && lab exec h1 "$MUSTER" up >"$WORK/dying.log" 2>&1) || fail "$(tail -n 5 "$WORK/dying.log")"
  [[ $(running_on h3) != 0 ]] || fail "nothing runs on the host that is to die"
  address=$(service_address dying server)
  lab exec h1 nsenter -t "$(process_of h1 client)" -n python3 "$HERE/connections.py" \
    steady "$address" "$PORT" "$STEADY_RATE" "$STEADY_S" >"$report" &
  opening=$!
  sleep "$((STEADY_S / 3))"
  lab kill h3
  wait "$opening" || fail "$(<"$report")"
  read -r OPENED FAILED SLOWEST MIDDLE <"$report"
}

bench_services() {
  local OPENED FAILED SLOWEST MIDDLE RATES=() STREAMS=()
  overlay_tools || return 0
  with_muster || return 0
  form_pair direct
  measure_addresses
  figure "connections to a service address" "${RATES[1]}" "target (0.95 of a container's)" "$(part "${RATES[0]}")" /s
  figure "a TCP stream to a service address" "${STREAMS[1]}" "target (0.95 of a container's)" "$(part "${STREAMS[0]}")" Mb/s
  measure_death
  say "a host dies under $STEADY_RATE connections a second: $OPENED opened, the middle one took $MIDDLE ms"
  figure "connections failed as a host died" "$FAILED" "target" 0 ""
  figure "the longest of them to be there" "$SLOWEST" "target (one SYN retry)" 1100 ms
  lab down
}
