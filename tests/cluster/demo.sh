#!/usr/bin/env bash
# Shows muster on three real Docker hosts: a cluster is formed, an example runs on it, a host loses
# its power and comes back, all is taken down. Prints each command as a person types it and what it
# really answered; ends with an error when something is not as it says. Leaves nothing behind.
set -euo pipefail

source "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/lib.sh"

export MUSTER_LAB_NAME=demo
MUSTER=${MUSTER:-$REPOSITORY/target/debug/muster}
readonly HOSTS=(h1 h2 h3) EXAMPLE=compose-examples/web-redis

BOLD='' DIM='' PLAIN=''
if [[ -t 1 && -z ${NO_COLOR:-} ]]; then BOLD=$'\e[1m' DIM=$'\e[2m' PLAIN=$'\e[0m'; fi
readonly BOLD DIM PLAIN

title() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '%s   %s%s\n' "$DIM" "$*" "$PLAIN"; }

fail() {
  echo "demo: $*" >&2
  exit 1
}

# What the machines find in their path is this build.
on() { # HOST CMD…
  local host=$1
  shift
  PATH=$(dirname "$MUSTER"):$PATH lab exec "$host" "$@"
}

# Prints a command at the prompt of a host and runs it there.
type_in() { # HOST CMD…
  local host=$1
  shift
  printf '%s%s$%s %s\n' "$BOLD" "$host" "$PLAIN" "$*"
  on "$host" "$@"
}

start_agent_at() { # HOST
  printf '%s%s$%s %s\n' "$BOLD" "$1" "$PLAIN" "muster agent &"
  start_agent "$1" "$WORK/$1.log" || exit 1
}

# --- what is true ---------------------------------------------------------------------------------

containers() { # HOST SERVICE
  lab exec "$1" docker ps --quiet --filter "label=muster.service=$2" 2>/dev/null
}

host_of_redis() {
  local host
  for host in "${HOSTS[@]}"; do
    if [[ -n $(containers "$host" redis) ]]; then echo "$host"; fi
  done
}

page_answers() { # HOST; at an address that does not count as a visit
  lab exec outside curl -fsS -m 2 -o /dev/null "http://$(lab addr "$1"):8080/healthz" 2>/dev/null
}

# Exactly N replicas of `web` run on some hosts, by what docker says there.
web_replicas() { # N HOST…
  local wanted=$1 n=0 host
  shift
  for host in "$@"; do n=$((n + $(containers "$host" web | wc -l))); done
  ((n == wanted))
}

settled() {
  on "${1:-h1}" muster ps --json 2>/dev/null | tr -d ' \n' | grep -q '"settled":true'
}

# --- the steps ------------------------------------------------------------------------------------

start_lab() {
  local host
  title "Three machines, each with a Docker Engine of its own, and no image registry in reach"
  lab up 3
  for host in "${HOSTS[@]}"; do
    note "$host $(lab addr "$host")  Docker $(lab exec "$host" docker version -f '{{.Server.Version}}')"
  done
  note "making the images that a registry would serve, from the distribution's packages"
  "$HERE/images.sh" load h1 python:3.11-slim redis:7 2>&1 | sed 's/^/   /'
  note "only h1 has them; h2 and h3 have no image at all"
}

make_cluster() {
  local host token
  title "A cluster: one command on the first host, one on each other"
  for host in "${HOSTS[@]}"; do start_agent_at "$host"; done
  type_in h1 muster init
  for host in h2 h3; do
    printf '%s%s$%s %s\n' "$BOLD" h1 "$PLAIN" "muster token create"
    token=$(on h1 muster token create)
    echo "$token"
    type_in "$host" muster join "$token"
  done
  await 20 hosts_alive h1 3 || fail "not all hosts are members after 20 s"
  type_in h1 muster nodes
}

run_example() {
  title "A Compose file, as it is: a page in three replicas that counts visits in Redis"
  type_in h1 cat compose.yaml
  type_in h1 muster up
  type_in h1 muster ps
  await 10 web_replicas 3 "${HOSTS[@]}" || fail "docker does not show three replicas of web"
  type_in h1 muster ls
}

show_names() {
  local host container
  title "Names: every container finds the services by name, on whichever host they run"
  for host in "${HOSTS[@]}"; do
    container=$(containers "$host" web | head -n 1)
    if [[ -n $container ]]; then type_in "$host" docker exec "$container" getent hosts redis web; fi
  done
}

fetch_pages() {
  local host
  title "The page, through each host"
  for host in "${HOSTS[@]}"; do
    await 15 page_answers "$host" || fail "the page does not answer through $host"
    type_in outside curl -sS "http://$(lab addr "$host"):8080/"
  done
}

# Asks through the two hosts that stay, again and again; one line an answer: its HTTP status.
start_visitors() { # HOST…
  # shellcheck disable=SC2016 # The shell outside expands these.
  lab spawn outside visitors "$WORK/visitors.log" sh -c 'while :; do
    for address in "$@"; do curl -s -m 3 -o /dev/null -w "%{http_code}\n" "http://$address:8080/"; done
    sleep 0.05; done' visitors "$(lab addr "$1")" "$(lab addr "$2")"
}

visitors_said() {
  local all good
  all=$(wc -l <"$WORK/visitors.log")
  good=$(grep -c '^200$' "$WORK/visitors.log" || true)
  echo "$good pages served, $((all - good)) requests failed"
}

lose_host() {
  local began
  title "$VICTIM loses its power, while visitors ask through ${REST[*]} without a pause"
  start_visitors "${REST[@]}"
  await 10 test -s "$WORK/visitors.log" || fail "the visitors do not get through"
  note "(the lab pulls its cable and kills everything in it)"
  began=$(now_ms)
  lab kill "$VICTIM"
  await 60 hosts_alive "${REST[0]}" 2 || fail "$VICTIM is still called alive after 60 s"
  note "after $(seconds_of $(($(now_ms) - began))) s $VICTIM is no longer called alive: nothing new is sent there"
  await 60 web_replicas 3 "${REST[@]}" || fail "its replicas did not come back elsewhere in 60 s"
  note "after $(seconds_of $(($(now_ms) - began))) s three replicas of web run again, on ${REST[*]}"
  await 60 settled "${REST[0]}" || fail "the app is not healthy again after 60 s"
  note "after $(seconds_of $(($(now_ms) - began))) s all of them are healthy"
  type_in "${REST[0]}" muster nodes
  type_in "${REST[0]}" muster ps
  note "visitors: $(visitors_said)"
}

return_host() {
  title "$VICTIM comes back"
  lab boot "$VICTIM"
  start_agent_at "$VICTIM"
  await 60 hosts_alive "${REST[0]}" 3 || fail "$VICTIM is not a member again after 60 s"
  await 60 web_replicas 3 "${HOSTS[@]}" || fail "there are not exactly three replicas of web"
  await 60 settled "${REST[0]}" || fail "the app is not healthy after 60 s"
  type_in "${REST[0]}" muster nodes
  type_in "${REST[0]}" muster ps
  await 15 page_answers "$VICTIM" || fail "the page does not answer through $VICTIM"
  type_in outside curl -sS "http://$(lab addr "$VICTIM"):8080/"
  lab stop outside visitors
  note "visitors, from before the power cut until now: $(visitors_said)"
}

take_down() {
  local host left
  title "All down, volumes included"
  type_in "${REST[0]}" muster down -v
  for host in "${HOSTS[@]}"; do
    left=$(lab exec "$host" docker ps -aq | wc -l)
    ((left == 0)) || fail "$left containers are left on $host"
  done
  note "no container is left on any host"
}

# --------------------------------------------------------------------------------------------------

finish() {
  local status=$?
  trap - EXIT
  # A second Ctrl-C must not leave daemons behind.
  trap '' INT TERM
  if ((status != 0)) && [[ -n ${WORK:-} ]]; then
    tail -n 15 "$WORK"/h*.log >&2 2>/dev/null || true
  fi
  lab down || status=1
  rm -rf "${WORK:-}"
  if ((status == 0)); then note "the lab is gone; nothing is left on this machine"; fi
  exit "$status"
}

main() {
  local host began=$SECONDS
  [[ -x $MUSTER ]] || fail "no $MUSTER; \`make demo\` builds it"
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/muster-demo.XXXXXX")
  lab down
  cd "$REPOSITORY/$EXAMPLE"
  start_lab
  make_cluster
  run_example
  show_names
  fetch_pages
  # Data never starts twice, so a host without the database is the one to lose.
  REST=("$(host_of_redis)")
  for host in h3 h2 h1; do
    [[ $host == "${REST[0]}" ]] || { VICTIM=$host; break; }
  done
  for host in "${HOSTS[@]}"; do
    [[ $host == "${REST[0]}" || $host == "$VICTIM" ]] || REST+=("$host")
  done
  lose_host
  return_host
  take_down
  title "Done in $((SECONDS - began)) s"
}

main "$@"
