# What visitors meet while replicas are updated, a host dies, a container is killed: requests that fail,
# and how long it takes until a replacement answers. Sourced by bench.sh, after services.sh.
# shellcheck shell=bash disable=SC2153,SC2154

UPDATES_S=${UPDATES_S:-600}
UPDATES_RATE=${UPDATES_RATE:-1700}
readonly UPDATES_S UPDATES_RATE UPDATES_PORT=8088 EXAMPLES_RATE=${EXAMPLES_RATE:-100} EXAMPLES_S=${EXAMPLES_S:-60}
readonly DEATHS_ROUNDS=${DEATHS_ROUNDS:-5} DEATH_APPS=6 DEATH_PORT=8100

# A page in six replicas whose server ends at once on SIGTERM, with requests of 20 s among others.
write_updates_app() { # VERSION
  mkdir -p "$WORK/pages"
  cp "$HERE/requests.py" "$WORK/pages/"
  cat >"$WORK/pages/compose.yaml" <<YAML
services:
  page:
    image: $PYTHON
    command: python3 /requests.py serve 8000
    environment: { VERSION: "$1" }
    ports: ["$UPDATES_PORT:8000"]
    configs: [{ source: requests, target: /requests.py }]
    x-health: { ready: { http: { path: /, port: 8000 }, interval: 1s } }
    x-rollout: { drain: 22s }
    deploy: { replicas: 6 }
configs:
  requests: { file: ./requests.py }
YAML
}

# Sends requests from outside to a port of all hosts; the report goes to a file.
begin_requests() { # REPORT RATE SECONDS SLOW PORT
  local host targets=()
  for host in "${HOSTS[@]}"; do targets+=("$(lab addr "$host"):$5"); done
  lab exec outside python3 "$HERE/requests.py" load "$2" "$3" "$4" "${targets[@]}" >"$1" 2>"$1.failed" &
  SENDING=$!
}

of_report() { # REPORT KEY
  python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$1" "$2"
}

sent_of() { echo $(($(of_report "$1" sent) + $(of_report "$1" slow_sent))); }
failed_of() { echo $(($(of_report "$1" failed) + $(of_report "$1" slow_failed))); }

# How many of a million that is.
per_million() { awk -v failed="$1" -v sent="$2" 'BEGIN { printf "%.1f", failed * 1e6 / sent }'; }

page_answers() { # PORT
  lab exec outside python3 "$HERE/requests.py" first 1 nobody "$(lab addr h1):$1" >/dev/null 2>&1
}

# Updates again and again until so many seconds have passed. Sets UPDATED.
update_for() { # SECONDS COMMAND…
  local end=$((SECONDS + $1))
  shift
  UPDATED=0
  while ((SECONDS < end)); do
    UPDATED=$((UPDATED + 1))
    "$@" $((UPDATED + 1))
  done
}

muster_update() { # VERSION
  write_updates_app "$1"
  (cd "$WORK/pages" && lab exec h2 "$MUSTER" up >"$WORK/update.log" 2>&1) || fail "$(tail -n 5 "$WORK/update.log")"
}

# Three replicas, each with the port of its host: the mesh of Swarm needs ip_vs, which not every kernel
# has, and two replicas cannot share a port of a host, so they stop first.
swarm_pages() {
  lab exec h1 docker service create --quiet --name pages --no-resolve-image --endpoint-mode dnsrr \
    --replicas 3 --update-order stop-first --publish "mode=host,published=$UPDATES_PORT,target=8000" \
    --env VERSION=1 --mount "type=bind,source=$HERE/requests.py,target=/requests.py,readonly" \
    "$PYTHON" python3 /requests.py serve 8000 >/dev/null
}

swarm_update() { # VERSION
  lab exec h1 docker service update --quiet --no-resolve-image --env-add "VERSION=$1" pages >/dev/null
}

# Requests while updates go on, begun by a command. Updates end some time before the requests do.
measure_updates() { # NAME SECONDS COMMAND…
  local report=$WORK/$1.requests seconds=$2
  begin_requests "$report" "$UPDATES_RATE" "$seconds" 1 "$UPDATES_PORT"
  update_for $((seconds * 8 / 10)) "${@:3}"
  wait "$SENDING" || fail "the load ended badly: $(tail -n 3 "$report.failed")"
  SENT=$(sent_of "$report") FAILED=$(failed_of "$report")
  say "$1: $UPDATED updates, $(<"$report")"
  tail -n 3 "$report.failed" >&2
  (($(of_report "$report" versions) > UPDATED)) || fail "not all versions were served: $(<"$report")"
}

bench_updates() {
  local SENT=0 FAILED=0 UPDATED=0 SENDING host mine=- sent=- updated=0 swarm_s=$((UPDATES_S < 120 ? UPDATES_S : 120))
  if with_muster; then
    form_hosts 3 "$PYTHON"
    muster_update 1
    measure_updates muster "$UPDATES_S" muster_update
    sent=$SENT updated=$UPDATED mine=$(per_million "$FAILED" "$SENT")
    figure "requests failed of $SENT, $UPDATED updates of 6" "$FAILED" target 0 ""
  fi
  lab down
  lab up 3
  for host in "${HOSTS[@]}"; do "$HERE/images.sh" load "$host" "$PYTHON"; done
  swarm_form
  swarm_pages
  await 60 page_answers "$UPDATES_PORT" || fail "Swarm serves nothing"
  measure_updates swarm "$swarm_s" swarm_update
  figure "requests failed of a million, as they are updated" "$mine" "swarm, stop-first" \
    "$(per_million "$FAILED" "$SENT")" ""
  say "that is of $sent in $updated updates, and of Swarm's $SENT in $UPDATED"
}

# --- deaths ---------------------------------------------------------------------------------------

write_death_app() { # N
  mkdir -p "$WORK/death$1"
  cp "$HERE/requests.py" "$WORK/death$1/"
  cat >"$WORK/death$1/compose.yaml" <<YAML
services:
  page:
    image: $PYTHON
    command: python3 /requests.py serve 8000
    ports: ["$((DEATH_PORT + $1)):8000"]
    configs: [{ source: requests, target: /requests.py }]
    deploy: { replicas: 1 }
configs:
  requests: { file: ./requests.py }
YAML
}

# `N HOST HOME` for each of the apps: where its replica runs, and who is its Home, asked of a host.
where_apps_run() { # HOST
  local n
  lab exec "$1" "$MUSTER" nodes --json >"$WORK/nodes"
  for ((n = 1; n <= DEATH_APPS; n++)); do
    lab exec "$1" "$MUSTER" ps --json -p "death$n" >"$WORK/death.ps"
    python3 - "$WORK/nodes" "$WORK/death.ps" "$n" <<'PYTHON'
import json, sys
nodes = {one["id"]: one["name"] for one in json.load(open(sys.argv[1]))}
app = json.load(open(sys.argv[2]))
host = [one["host"] for one in app["replicas"] if one["ready"] and one["current"]]
print(sys.argv[3], host[0] if len(host) == 1 else "-", nodes.get(app["summary"]["home"], "-"))
PYTHON
  done
}

# Everything of all apps runs once, and as it is to stay.
deaths_settled() { # HOST
  local n
  for ((n = 1; n <= DEATH_APPS; n++)); do
    lab exec "$1" "$MUSTER" ps --json -p "death$n" 2>/dev/null | tr -d ' \n' | grep -q '"settled":true' || return 1
  done
}

# Who answers at a port of a host now.
who_answers() { # HOST PORT
  lab exec outside python3 "$HERE/requests.py" first 5 nobody "$(lab addr "$1"):$2" | cut -d' ' -f1 | tr / ' '
}

# The power of a host is cut. Adds to HOMES and OTHERS how many milliseconds later a replacement of each
# app that ran there answered well, at any of the hosts that are left.
measure_host_death() { # VICTIM WITNESS
  local victim=$1 witness=$2 n host home began asking=() apps=() homes=() who left=() took
  for host in "${HOSTS[@]}"; do [[ $host == "$victim" ]] || left+=("$(lab addr "$host")"); done
  while read -r n host home; do
    [[ $host == "$victim" ]] || continue
    who=$(who_answers "$witness" $((DEATH_PORT + n)))
    apps+=("$n") homes+=("$home")
    # shellcheck disable=SC2046
    lab exec outside python3 "$HERE/requests.py" first 60 "$who" \
      $(printf "%s:$((DEATH_PORT + n)) " "${left[@]}") >"$WORK/died.$n" 2>&1 &
    asking+=($!)
  done < <(where_apps_run "$witness")
  ((${#apps[@]})) || return 0
  sleep 0.5
  began=$(now_ms)
  lab kill "$victim"
  for n in "${asking[@]}"; do wait "$n" || fail "$(cat "$WORK"/died.*)"; done
  # What the time went into.
  lab exec "$witness" "$MUSTER" events --since 20s | grep -E "$victim|page" >&2 || true
  for ((n = 0; n < ${#apps[@]}; n++)); do
    took=$(($(cut -d' ' -f2 "$WORK/died.${apps[n]}") - began))
    if [[ ${homes[n]} == "$victim" ]]; then HOMES+=("$took"); else OTHERS+=("$took"); fi
  done
}

# The first moment, in milliseconds since 1970, at which the Docker of any host tells of something of the
# containers that a filter finds, from some moment on; nothing when none does.
told_of() { # EVENT FILTER SINCE_MS
  local host told since=$(($3 / 1000)).$(printf '%03d' $(($3 % 1000)))000000
  told=$(for host in "${HOSTS[@]}"; do
    lab exec "$host" docker events --since "$since" --until "$(($(now_ms) / 1000 + 1))" \
      --filter "event=$1" --filter "$2" --format '{{.TimeNano}}'
  done | sort -n | head -n 1)
  # Nanoseconds, too many for awk's numbers.
  [[ -z $told ]] || echo $((told / 1000000))
}

# The process of a container is killed. Adds to KILLED how many milliseconds later Docker tells of the
# start of the next one that a filter finds, and to NOTICED when it told of the end.
measure_kill() { # HOST FILTER
  local host=$1 id pid began started= deadline=$((SECONDS + 40))
  id=$(lab exec "$host" docker ps -q --filter "$2" | head -n 1)
  pid=$(lab exec "$host" docker inspect -f '{{.State.Pid}}' "$id")
  # The moment as the host sees it: getting there takes a while.
  began=$(lab exec "$host" sh -c 'date +%s%3N; kill -KILL "$0"' "$pid")
  while [[ -z $started ]]; do
    ((SECONDS < deadline)) || fail "nothing was started again after a kill on $host"
    started=$(told_of start "$2" "$began")
  done
  KILLED+=($((started - began)))
  NOTICED+=($(($(told_of die "$2" "$began") - began)))
}

# Rounds of deaths of hosts in turn, then of containers.
deaths_muster() {
  local round n victim witness host
  form_hosts 3 "$PYTHON"
  for ((n = 1; n <= DEATH_APPS; n++)); do
    write_death_app "$n"
    (cd "$WORK/death$n" && lab exec h1 "$MUSTER" up --detach >"$WORK/death.log" 2>&1) || fail "$(tail -n 5 "$WORK/death.log")"
  done
  for ((round = 0; round < DEATHS_ROUNDS; round++)); do
    victim=h$((round % 3 + 1)) witness=h$(((round + 1) % 3 + 1))
    await 120 deaths_settled "$witness" || fail "the apps do not settle"
    measure_host_death "$victim" "$witness"
    lab boot "$victim"
    start_agent "$victim" "$WORK/$victim.log"
    await 60 hosts_alive "$witness" 3 || fail "$victim does not come back"
  done
  await 120 deaths_settled h1 || fail "the apps do not settle"
  for ((round = 0; round < DEATHS_ROUNDS; round++)); do
    read -r _ host _ < <(where_apps_run h1 | sed -n "$((round % DEATH_APPS + 1))p")
    measure_kill "$host" "label=muster.app=death$((round % DEATH_APPS + 1))"
  done
}

# Where Swarm runs the one task of a service.
swarm_host() { # WITNESS
  lab exec "$1" docker service ps --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' page |
    awk '/ Running/ { print $1; exit }'
}

swarm_runs() { [[ -n $(swarm_host "$1") ]]; }

nodes_ready() { # WITNESS
  [[ $(lab exec "$1" docker node ls --format '{{.Status}}' | grep -c Ready) == 3 ]]
}

# The same of Docker Swarm, with three managers, so that it outlives each of them. The one replica is
# asked at the port of its host.
deaths_swarm() {
  local round host witness who began at left=() n
  lab down
  lab up 3
  for host in "${HOSTS[@]}"; do "$HERE/images.sh" load "$host" "$PYTHON"; done
  swarm_form
  lab exec h1 docker node promote h2 h3 >/dev/null
  lab exec h1 docker service create --quiet --name page --no-resolve-image --endpoint-mode dnsrr --replicas 1 \
    --publish "mode=host,published=$DEATH_PORT,target=8000" \
    --mount "type=bind,source=$HERE/requests.py,target=/requests.py,readonly" \
    "$PYTHON" python3 /requests.py serve 8000 >/dev/null
  for ((round = 0; round < 3; round++)); do
    await 60 swarm_runs h1 || fail "Swarm runs nothing"
    host=$(swarm_host h1) witness=h1 left=()
    [[ $host != h1 ]] || witness=h2
    who=$(who_answers "$host" "$DEATH_PORT")
    for n in "${HOSTS[@]}"; do [[ $n == "$host" ]] || left+=("$(lab addr "$n"):$DEATH_PORT"); done
    lab exec outside python3 "$HERE/requests.py" first 90 "$who" "${left[@]}" >"$WORK/swarm.death" &
    sleep 0.5
    began=$(now_ms)
    lab kill "$host"
    wait $! || fail "Swarm starts no replacement within 90 s"
    at=$(cut -d' ' -f2 "$WORK/swarm.death")
    SWARM+=($((at - began)))
    lab boot "$host"
    await 60 nodes_ready "$witness" || fail "$host does not come back to Swarm"
  done
  await 60 swarm_runs h1 || fail "Swarm runs nothing"
  for ((round = 0; round < 3; round++)); do
    await 60 swarm_runs h1
    measure_kill "$(swarm_host h1)" "label=com.docker.swarm.service.name=page"
  done
}

in_seconds() { awk -v ms="$1" 'BEGIN { printf "%.2f", ms / 1000 }'; }

bench_deaths() {
  local HOMES=() OTHERS=() KILLED=() NOTICED=() SWARM=() all=() mine=- home=- killed=-
  if with_muster; then
    deaths_muster
    all=("${HOMES[@]}" "${OTHERS[@]}")
    ((${#all[@]})) || fail "nothing ran on any host that died"
    say "answers after a host died, ms: it was the Home ${HOMES[*]:-never}, it was not ${OTHERS[*]:-never}"
    say "containers started again after, ms: ${KILLED[*]}; Docker told of their ends after ${NOTICED[*]}"
    mine=$(in_seconds "$(largest "${all[@]}")") killed=$(in_seconds "$(largest "${KILLED[@]}")")
    figure "host dead to first answer, worst of ${#all[@]}" "$mine" target 10 s
    # Which host is whose Home is not ours to choose.
    if ((${#HOMES[@]})); then
      home=$(in_seconds "$(largest "${HOMES[@]}")")
      figure "the same, it was the Home, worst of ${#HOMES[@]}" "$home" target 10 s
    fi
    figure "container killed to started, worst of ${#KILLED[@]}" "$killed" target 1 s
    KILLED=() NOTICED=()
  fi
  deaths_swarm
  say "Swarm, ms: answers ${SWARM[*]}, containers ${KILLED[*]}, their ends ${NOTICED[*]}"
  figure "host dead to first answer" "$mine" "swarm, worst of 3" "$(in_seconds "$(largest "${SWARM[@]}")")" s
  figure "container killed to started" "$killed" "swarm, worst of 3" "$(in_seconds "$(largest "${KILLED[@]}")")" s
}

# --- the examples ---------------------------------------------------------------------------------

# Updates one service of an example, without a change to its file, while it is asked.
measure_example() { # EXAMPLE SERVICE PORT
  local folder=$WORK/$1 report=$WORK/$1.requests before after SENDING UPDATED=0
  cp -r "$REPOSITORY/compose-examples/$1" "$folder"
  (cd "$folder" && lab exec h1 "$MUSTER" up >"$WORK/example.log" 2>&1) || fail "$1: $(tail -n 5 "$WORK/example.log")"
  await 30 lab exec outside curl -fsS -o /dev/null "http://$(lab addr h2):$3/" || fail "$1 does not answer"
  before=$(containers_of "$2")
  begin_requests "$report" "$EXAMPLES_RATE" "$EXAMPLES_S" 0 "$3"
  update_for $((EXAMPLES_S * 8 / 10)) update_example "$folder" "$2"
  wait "$SENDING" || fail "the load ended badly: $(tail -n 3 "$report.failed")"
  after=$(containers_of "$2")
  [[ $before != "$after" ]] || fail "$1 was not updated"
  say "$1: $UPDATED updates, $(<"$report")"
  tail -n 5 "$report.failed" >&2
  figure "$1: requests failed of $(sent_of "$report"), $UPDATED updates" "$(failed_of "$report")" target 0 ""
  (cd "$folder" && lab exec h1 "$MUSTER" down -v >"$WORK/example.log" 2>&1) || fail "$1: $(tail -n 5 "$WORK/example.log")"
}

containers_of() { # SERVICE
  local host
  for host in "${HOSTS[@]}"; do lab exec "$host" docker ps -q --no-trunc --filter "label=muster.service=$1"; done | sort
}

update_example() { # FOLDER SERVICE VERSION
  printf 'services:\n  %s:\n    environment:\n      VERSION: "%s"\n' "$2" "$3" >"$1/compose.override.yaml"
  (cd "$1" && lab exec h3 "$MUSTER" up >"$WORK/example.log" 2>&1) || fail "$1: $(tail -n 5 "$WORK/example.log")"
}

bench_examples() {
  local host
  with_muster || return 0
  form_hosts 3 busybox:1
  for host in "${HOSTS[@]}"; do "$HERE/images.sh" load "$host" "$PYTHON" redis:7 postgres:15; done
  measure_example hello hello 8000
  measure_example web-redis web 8080
  measure_example guestbook-postgres web 8090
}
