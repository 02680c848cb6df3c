#!/usr/bin/env bash
# Measures muster beside a floor and a peer in the same run: plain `docker run`, Docker Swarm, the
# reference implementation of Compose. Prints one line a figure: name, ours, floor or peer, ratio.
# What is not a figure goes to standard error. Takes a lab of its own and removes it.
set -euo pipefail

source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/inputs.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/overlay.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/dns.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/services.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/soak.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/export.sh"
source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/updates.sh"

export MUSTER_LAB_NAME=bench
MUSTER=${MUSTER:-$REPOSITORY/target/release/muster}
ROUNDS=${ROUNDS:-3}
readonly REPLICAS=30 IMAGE=busybox:1 HOSTS=(h1 h2 h3) FIGURES_KEPT=$REPOSITORY/target/figures.tsv

usage() {
  cat >&2 <<'USAGE'
usage: bench.sh [FIGURE…]       figures: start failover memory config large bombs dns
                                overlay services leaving plans export examples
                                deaths updates (all of these; the last takes a
                                quarter of an hour), soak (half an hour)
environment:
  MUSTER   the binary (target/release/muster); `-` measures only floors and peers
  ROUNDS   of `start`, the median is printed (3)
  SOAK_S   seconds of `soak` (1800)
  UPDATES_S, UPDATES_RATE  seconds of `updates` (600), requests a second (1700)
  EXAMPLES_S, EXAMPLES_RATE  the same for each of the `examples` (60, 100)
  DEATHS_ROUNDS  hosts, and containers, that die in `deaths` (5)
USAGE
  exit 2
}

say() { echo "bench: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

figure() { # NAME OURS OTHER_NAME OTHER UNIT
  local ratio=-
  [[ $2 == - || $4 == - ]] || ratio=$(ratio "$2" "$4")
  printf '%-44s  ours %8s %-3s  %-22s %8s %-3s  ratio %s\n' "$1" "$2" "$5" "$3" "$4" "$5" "$ratio"
  keep_figure "$@"
}

# The same in target/figures.tsv, which `make sim` writes its part of.
keep_figure() { # NAME OURS OTHER_NAME OTHER UNIT
  local goal=- peer=- verdict=-
  if [[ $3 == target* ]]; then goal=$4; else peer="$3 $4"; fi
  if [[ $2 != - && $4 != - ]]; then
    verdict=$(awk -v a="$2" -v b="$4" -v unit="$5" \
      'BEGIN { good = unit ~ "/s$" ? a >= b : a <= b; print good ? "good" : "MISSED" }')
  fi
  printf 'bench\t%s\t%s %s\t%s\t%s\t%s\n' "$1" "$2" "$5" "$goal" "$peer" "$verdict" >>"$FIGURES_KEPT"
}

# Begins our part of the figures anew.
begin_figures() {
  local others
  others=$(grep '^sim' "$FIGURES_KEPT" 2>/dev/null || true)
  mkdir -p "$(dirname "$FIGURES_KEPT")"
  {
    printf 'source\tfigure\tours\tgoal\tpeer or model\tverdict\n'
    [[ -z $others ]] || printf '%s\n' "$others"
  } >"$FIGURES_KEPT.new"
  mv "$FIGURES_KEPT.new" "$FIGURES_KEPT"
}

with_muster() { [[ $MUSTER != - ]]; }

# --- thirty replicas ------------------------------------------------------------------------------

# Waits for a number of running containers on some hosts.
await_running() { # N HOST…
  local wanted=$1 deadline=$((SECONDS + 180)) host n
  shift
  while :; do
    n=0
    for host in "$@"; do n=$((n + $(running_on "$host"))); done
    if ((n == wanted)); then return; fi
    ((SECONDS < deadline)) || fail "after 180 s $n of $wanted containers run"
    sleep 0.5
  done
}

# Sets TOOK: milliseconds from a moment to the last start of a container on some hosts, as their
# daemons tell. Exact, and costs the machine nothing while it is busy.
take_time() { # BEGAN_MS HOST…
  local began=$1 host last
  shift
  last=$(for host in "$@"; do
    lab exec "$host" docker events --filter event=start --format '{{.TimeNano}}' \
      --since "$((began / 1000)).$(printf '%03d' "$((began % 1000))")000000" \
      --until "$(($(now_ms) / 1000 + 1))"
  done | sort -n | tail -n 1)
  [[ -n $last ]] || fail "no daemon tells of a start"
  TOOK=$((last / 1000000 - began))
}

clear_containers() {
  local host
  for host in "${HOSTS[@]}"; do
    lab exec "$host" sh -c 'docker ps -aq | xargs -r -n 10 -P 3 docker rm -f >/dev/null 2>&1' &
  done
  wait
}

# Plain `docker run`, a third on each host, the hosts side by side, four at a time.
start_floor() {
  local host began jobs=()
  began=$(now_ms)
  for host in "${HOSTS[@]}"; do
    lab exec "$host" sh -c "seq $((REPLICAS / ${#HOSTS[@]})) |
      xargs -P 4 -I{} docker run -d --stop-signal KILL $IMAGE sleep 3600 >/dev/null" &
    jobs+=($!)
  done
  for host in "${jobs[@]}"; do wait "$host"; done
  await_running "$REPLICAS" "${HOSTS[@]}"
  take_time "$began" "${HOSTS[@]}"
  clear_containers
}

swarm_form() {
  local token n
  lab exec h1 docker swarm init --advertise-addr 10.77.0.11 >/dev/null
  token=$(lab exec h1 docker swarm join-token -q worker)
  for n in 2 3; do
    lab exec "h$n" docker swarm join --token "$token" 10.77.0.11:2377 >/dev/null
  done
}

swarm_leave() {
  local host
  for host in h3 h2 h1; do lab exec "$host" docker swarm leave --force >/dev/null; done
}

# `dnsrr`: virtual addresses need a kernel module that not every machine has.
swarm_start() {
  lab exec h1 docker service create --quiet --detach --name bench --no-resolve-image \
    --endpoint-mode dnsrr --stop-signal KILL --replicas "$REPLICAS" "$IMAGE" sleep 3600 >/dev/null
  await_running "$REPLICAS" "${HOSTS[@]}"
}

swarm_stop() {
  lab exec h1 docker service rm bench >/dev/null
  await_running 0 "${HOSTS[@]}"
  clear_containers
}

start_swarm() {
  local began
  swarm_form
  began=$(now_ms)
  swarm_start
  take_time "$began" "${HOSTS[@]}"
  swarm_stop
  swarm_leave
}

write_app() {
  mkdir -p "$WORK/bench"
  cat >"$WORK/bench/compose.yaml" <<YAML
services:
  small:
    image: $IMAGE
    command: sleep 3600
    stop_signal: SIGKILL
    deploy:
      replicas: $REPLICAS
YAML
}

muster_at_h1() { (cd "$WORK/bench" && lab exec h1 "$MUSTER" "$@"); }

# `up` returns when every replica runs; docker is asked whether that is true.
muster_start() {
  muster_at_h1 up >"$WORK/up.log" 2>&1 || fail "\`muster up\` failed: $(tail -n 5 "$WORK/up.log")"
  await_running "$REPLICAS" "${HOSTS[@]}"
}

muster_stop() {
  muster_at_h1 down >"$WORK/down.log" 2>&1 || fail "\`muster down\` failed: $(tail -n 5 "$WORK/down.log")"
  await_running 0 "${HOSTS[@]}"
}

start_muster() {
  local began
  began=$(now_ms)
  muster_start
  take_time "$began" "${HOSTS[@]}"
  muster_stop
}

# The three take turns, so that what else the machine does meets all of them.
bench_start() {
  local round ours=() floor=() swarm=() mine=-
  for ((round = 1; round <= ROUNDS; round++)); do
    start_floor && floor+=("$TOOK")
    if with_muster; then start_muster && ours+=("$TOOK") && mine=$TOOK; fi
    start_swarm && swarm+=("$TOOK")
    say "start, round $round: floor ${floor[-1]} ms, ours ${mine} ms, swarm ${swarm[-1]} ms"
  done
  if with_muster; then mine=$(seconds_of "$(median "${ours[@]}")"); fi
  figure "$REPLICAS replicas on 3 hosts, all running" "$mine" "docker run (floor)" \
    "$(seconds_of "$(median "${floor[@]}")")" s
  figure "$REPLICAS replicas on 3 hosts, all running" "$mine" "docker swarm" \
    "$(seconds_of "$(median "${swarm[@]}")")" s
}

# --- a host's cable is pulled ---------------------------------------------------------------------

failover() {
  local began
  began=$(now_ms)
  lab cut h3
  await_running "$REPLICAS" h1 h2
  take_time "$began" h1 h2
  lab heal h3
}

bench_failover() {
  local mine=-
  if with_muster; then
    muster_start
    failover
    mine=$(seconds_of "$TOOK")
    # The host comes back: what runs twice must go before the app does.
    await 60 hosts_alive h1 3 || fail "h3 did not come back"
    await_running "$REPLICAS" "${HOSTS[@]}"
    muster_stop
  fi
  swarm_form
  swarm_start
  failover
  figure "host cut off, all $REPLICAS running elsewhere" "$mine" "docker swarm" "$(seconds_of "$TOOK")" s
  await_running "$REPLICAS" "${HOSTS[@]}"
  swarm_stop
  swarm_leave
}

# --- an idle agent --------------------------------------------------------------------------------

resident_mb() { # HOST
  awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$(lab pid "$1" agent)/status"
}

# Resident memory once it no longer falls, or after 15 s.
bench_memory() {
  local before now=999999 deadline=$((SECONDS + 15))
  with_muster || return 0
  while ((SECONDS < deadline)); do
    before=$now
    sleep 3
    now=$(resident_mb h1)
    if awk -v a="$before" -v b="$now" 'BEGIN { exit !(a - b < 0.1) }'; then break; fi
  done
  figure "idle agent, resident, 3 hosts" "$now" "target" 40.0 MB
}

# --- reading a Compose file -----------------------------------------------------------------------

write_ten_services() {
  local n
  mkdir -p "$WORK/ten"
  {
    echo 'services:'
    for ((n = 1; n <= 10; n++)); do
      cat <<YAML
  service$n:
    image: example/service:\${TAG:-1.$n}
    environment: { LEVEL: info, NUMBER: "$n", PEER: service$((n % 10 + 1)) }
    ports: ["$((8000 + n)):80"]
    volumes: ["data$n:/data"]
    networks: [front, back]
    healthcheck: { test: ["CMD", "true"], interval: 5s }
    deploy: { replicas: 2, resources: { limits: { memory: 64M } } }
YAML
    done
    echo 'networks: { front: {}, back: {} }'
    echo 'volumes:'
    for ((n = 1; n <= 10; n++)); do echo "  data$n: {}"; done
  } >"$WORK/ten/compose.yaml"
}

# Median milliseconds of 21 runs.
time_config() { # CMD…
  local n began runs=()
  for ((n = 0; n < 21; n++)); do
    began=${EPOCHREALTIME/[.,]/}
    (cd "$WORK/ten" && "$@" >/dev/null 2>"$WORK/config.log") || fail "$* failed: $(tail -n 3 "$WORK/config.log")"
    runs+=($((${EPOCHREALTIME/[.,]/} - began)))
  done
  awk -v us="$(median "${runs[@]}")" 'BEGIN { printf "%.1f", us / 1000 }'
}

bench_config() {
  local peer mine=- theirs=-
  write_ten_services
  if with_muster; then mine=$(time_config "$MUSTER" config); fi
  peer=$("$HERE/peer.sh")
  if [[ -n $peer ]]; then theirs=$(time_config "$peer" config); else say "no docker-compose to compare with"; fi
  figure "config of 10 services" "$mine" "docker compose" "$theirs" ms
  figure "config of 10 services" "$mine" "target" 20.0 ms
  if [[ $theirs != - ]]; then
    figure "config of 10 services" "$mine" "target: 0.2 of theirs" "$(awk -v a="$theirs" 'BEGIN { print a * 0.2 }')" ms
  fi
}

# Sets TOOK (seconds), PEAK (resident MB) and STATUS of one command, which may use 60 s and 4 GB.
take_peak() { # FOLDER CMD…
  local folder=$1
  shift
  STATUS=0
  (cd "$folder" && prlimit --data=4000000000 timeout 60 python3 - "$@") >"$WORK/peak" 2>"$WORK/peak.log" <<'PYTHON' || STATUS=$?
import resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"{time.monotonic() - began:.3f} {peak:.0f} {done.returncode}")
PYTHON
  if ((STATUS == 0)); then read -r TOOK PEAK STATUS <"$WORK/peak"; fi
}

bench_large() {
  local peer
  write_large "$WORK/large" 10000
  if with_muster; then
    take_peak "$WORK/large" "$MUSTER" config -q
    ((STATUS == 0)) || fail "muster does not load 10000 services: $(tail -n 3 "$WORK/peak.log")"
    figure "config of 10000 services" "$TOOK" "target" 2.000 s
    figure "config of 10000 services, peak" "$PEAK" "target" 500 MB
  fi
  peer=$("$HERE/peer.sh")
  [[ -n $peer ]] || return 0
  local mine=${TOOK:--} mine_peak=${PEAK:--}
  take_peak "$WORK/large" "$peer" config -q
  if ((STATUS != 0)); then
    say "docker compose ends with status $STATUS on 10000 services"
    return 0
  fi
  figure "config of 10000 services" "$mine" "docker compose" "$TOOK" s
  figure "config of 10000 services, peak" "$mine_peak" "docker compose" "$PEAK" MB
}

bench_bombs() {
  local name
  with_muster || return 0
  for name in "${BOMBS[@]}"; do
    write_bomb "$name" "$WORK/bombs/$name"
    take_peak "$WORK/bombs/$name" "$MUSTER" config -q
    # A timeout and a signal are no refusal.
    ((STATUS == 1)) || fail "bomb $name: muster ends with status $STATUS"
    figure "bomb $name refused ($PEAK MB)" "$TOOK" "target" 0.100 s
  done
}

# --- Plans -----------------------------------------------------------------------------------------

# What a Plan costs by the size of the cluster, as tests/sim measures it: in one process that does
# nothing else, optimised.
bench_plans() {
  local word hosts replicas services first again deaths memory name slowest
  with_muster || return 0
  say "building the simulator"
  (cd "$REPOSITORY" && cargo test --config 'profile.dev.package.muster.opt-level=3' --locked -q \
    -p muster --test sim measure_plans -- --exact --ignored --nocapture) >"$WORK/plans" 2>&1 ||
    fail "plans: $(tail -n 3 "$WORK/plans")"
  while read -r word hosts replicas services first again deaths memory; do
    [[ $word == plan ]] || continue
    name="$replicas replicas of $services services on $hosts hosts"
    slowest=$(printf '%s\n' "$first" "$again" "$deaths" | sort -g | tail -n 1)
    say "$name: first $first s, as it is $again s, a tenth dies $deaths s, $memory MB," \
      "$(awk -v s="$slowest" -v n="$replicas" 'BEGIN { printf "%.1f", s * 1e6 / n }') us a replica"
    if ((replicas == 10000)); then
      figure "plan: $name" "$slowest" target 1 s
      figure "plan: $name, memory" "$memory" target 500 MB
    fi
  done <"$WORK/plans"
}

# --------------------------------------------------------------------------------------------------

finish() {
  local status=$?
  trap - EXIT
  # A second Ctrl-C must not leave daemons behind.
  trap '' INT TERM
  lab down || status=1
  rm -rf "${WORK:-}"
  exit "$status"
}

prepare_lab() {
  local host
  lab down
  lab up 3
  for host in "${HOSTS[@]}"; do "$HERE/images.sh" load "$host" "$IMAGE"; done
  write_app
  if with_muster; then form_cluster 3 "$WORK" || fail "no cluster: $(tail -n 3 "$WORK"/h*.log)"; fi
}

main() {
  local name wanted prepared=
  if (($#)); then wanted=("$@"); else wanted=(start failover memory config large bombs dns overlay services leaving plans export examples deaths updates); fi
  for name in "${wanted[@]}"; do
    [[ $name =~ ^(start|failover|memory|config|large|bombs|dns|overlay|services|leaving|plans|export|examples|deaths|updates|soak)$ ]] || usage
  done
  if with_muster && [[ ! -x $MUSTER ]]; then fail "no $MUSTER; \`make bench\` builds it"; fi
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/muster-bench.XXXXXX")
  begin_figures
  for name in "${wanted[@]}"; do
    if [[ $name =~ ^(start|failover|memory)$ ]]; then
      [[ -n $prepared ]] || prepare_lab
      prepared=yes
    else
      # What the figure before has left: idle daemons would wake up beside what is measured.
      lab down
      prepared=
    fi
    "bench_$name"
  done
}

main "$@"
