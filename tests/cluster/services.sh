# What a service address costs beside the address of a container, what new connections to it meet
# when a host dies, and how long they still go to an endpoint that is no longer ready. Sourced by bench.sh, after overlay.sh.
# shellcheck shell=bash disable=SC2153,SC2154

readonly PYTHON=python:3.11-slim PORT=8000 STEADY_RATE=500 STEADY_S=15 LEAVING_ROUNDS=${LEAVING_ROUNDS:-10}
# One turn says little: on a virtual machine they differ by a third.
readonly SERVICES_TURNS=${SERVICES_TURNS:-9}

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
  local turn kind to=("$ADDRESS" "$(service_address pair on-h2)") rates=("" "") streams=("" "")
  serve_connections h2 "$(process_of h2 on-h2)"
  for ((turn = 1; turn <= SERVICES_TURNS; turn++)); do
    for kind in 0 1; do
      rates[kind]+=" $("${INSIDE_1[@]}" python3 "$HERE/connections.py" rate "${to[kind]}" "$PORT" 3)"
      streams[kind]+=" $(stream "${to[kind]}" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}")"
    done
  done
  for kind in 0 1; do
    # shellcheck disable=SC2086
    RATES[kind]=$(median ${rates[kind]}) STREAMS[kind]=$(median ${streams[kind]})
  done
  say "by turns, to a container and to a service: connections a second${rates[0]} and${rates[1]}, Mb/s${streams[0]} and${streams[1]}"
}

figure_of_address() { # NAME TO_CONTAINER TO_SERVICE UNIT
  figure "$1" "$3" "to the container's own" "$2" "$4"
  figure "$1" "$3" "target (0.95 of that)" "$(part_of "$2" 0.95)" "$4"
}

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

write_leaving_app() {
  mkdir -p "$WORK/leaving"
  cp "$HERE/connections.py" "$WORK/leaving/"
  cat >"$WORK/leaving/compose.yaml" <<EOF
services:
  server:
    image: $PYTHON
    command: sh -c '[ -e /tmp/made ] || touch /tmp/ready /tmp/made; exec python3 /connections.py serve $PORT'
    stop_signal: SIGKILL
    configs: [{ source: connections, target: /connections.py }]
    healthcheck: { test: ["CMD", "test", "-e", "/tmp/ready"], interval: 1s, retries: 1 }
    deploy: { replicas: 3, placement: { max_replicas_per_node: 1 } }
  client:
    image: $PYTHON
    command: sleep 3600
    stop_signal: SIGKILL
    deploy: { mode: global }
configs:
  connections: { file: ./connections.py }
EOF
}

# One that was started again stays not ready until it is told otherwise, or it would be handed out anew.
servers_ready() {
  local host
  for host in h1 h2 h3; do
    lab exec "$host" sh -c 'docker exec "$(docker ps -q --filter label=muster.service=server)" touch /tmp/ready' 2>/dev/null || true
  done
  [[ $(lab exec h1 "$MUSTER" ps --json -p leaving | python3 -c 'import json, sys
print(sum(one["ready"] for one in json.load(sys.stdin)["services"] if one["service"] == "server"))') == 3 ]]
}

# One endpoint fails its check, clients on all hosts watch. Adds to OWN and ALL how many milliseconds
# after Docker's word on it the last connection to it began: on its own host, and on any.
measure_leaving() { # ADDRESS HOST
  local address=$1 host=$2 since endpoint id said n last late=0 watching=()
  await 60 servers_ready || fail "the servers are not ready"
  id=$(lab exec "$host" docker ps -q --filter label=muster.service=server)
  endpoint=$(lab exec "$host" docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$id")
  since=$(date +%s)
  for n in 1 2 3; do
    : >"$WORK/watch.$n"
    lab exec "h$n" nsenter -t "$(process_of "h$n" client)" -n \
      python3 "$HERE/connections.py" watch "$address" "$PORT" 8 >"$WORK/watch.$n" &
    watching+=($!)
  done
  for n in 1 2 3; do
    await 10 grep -q "^seen $endpoint$" "$WORK/watch.$n" || fail "h$n is not sent to $endpoint"
  done
  lab exec "$host" docker exec "$id" rm /tmp/ready
  wait "${watching[@]}"
  said=$(lab exec "$host" docker events --since "$since" --until "$(date +%s)" --filter "container=$id" \
    --filter event=health_status --format '{{.Status}} {{.TimeNano}}' | awk '/unhealthy/ { print $NF; exit }')
  [[ -n $said ]] || fail "Docker does not call the server unhealthy"
  # Nanoseconds, too many for awk's numbers.
  said=$((said / 1000000))
  for n in 1 2 3; do
    last=$(($(awk -v to="$endpoint" '$1 == to { print $2 }' "$WORK/watch.$n") - said))
    ((last > 0)) || last=0
    [[ h$n != "$host" ]] || OWN+=("$last")
    ((last <= late)) || late=$last
  done
  ALL+=("$late")
}

largest() { printf '%s\n' "$@" | sort -n | tail -n 1; }

bench_leaving() {
  local round address OWN=() ALL=()
  with_muster || return 0
  form_hosts 3 "$PYTHON"
  write_leaving_app
  (cd "$WORK/leaving" && lab exec h1 "$MUSTER" up >"$WORK/leaving.log" 2>&1) || fail "$(tail -n 5 "$WORK/leaving.log")"
  address=$(service_address leaving server)
  for ((round = 0; round < LEAVING_ROUNDS; round++)); do
    measure_leaving "$address" "h$((round % 3 + 1))"
  done
  say "handed out after the check failed, ms: own host ${OWN[*]}, any host ${ALL[*]}"
  figure "not ready to not handed out, its host" "$(largest "${OWN[@]}")" "target (worst of $LEAVING_ROUNDS)" 250 ms
  figure "not ready to not handed out, all 3 hosts" "$(largest "${ALL[@]}")" "target (worst of $LEAVING_ROUNDS)" 1000 ms
}

bench_services() {
  local OPENED FAILED SLOWEST MIDDLE RATES=() STREAMS=()
  overlay_tools || return 0
  with_muster || return 0
  form_pair direct
  measure_addresses
  figure_of_address "connections to a service address" "${RATES[@]}" /s
  figure_of_address "a TCP stream to a service address" "${STREAMS[@]}" Mb/s
  measure_death
  say "a host dies under $STEADY_RATE connections a second: $OPENED opened, the middle one took $MIDDLE ms"
  figure "connections failed as a host died" "$FAILED" "target" 0 ""
  figure "the longest of them to be there" "$SLOWEST" "target (one SYN retry)" 1100 ms
}
