# What the demo and the benchmark share: a lab, a cluster of muster in it, waiting, times. Sourced,
# never run. Starts nothing by itself.
# shellcheck shell=bash

HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
REPOSITORY=$(realpath "$HERE/../..")
readonly HERE REPOSITORY

lab() { "$HERE/lab.sh" "$@"; }

# Runs a condition every 0.2 s until it holds; fails after SECONDS.
await() { # SECONDS CONDITION…
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.2
  done
}

# Milliseconds since 1970.
now_ms() { echo "$((${EPOCHREALTIME/[.,]/} / 1000))"; }

# 12345 -> 12.35
seconds_of() { awk -v ms="$1" 'BEGIN { printf "%.2f", ms / 1000 }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'; }

# The middle one of some numbers.
median() { printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

# Running containers of one host, or 0 when it does not answer.
running_on() { # HOST
  lab exec "$1" docker ps --quiet 2>/dev/null | wc -l
}

agent_answers() { # HOST
  lab exec "$1" "$MUSTER" nodes >/dev/null 2>&1 || lab exec "$1" test -S /run/muster.sock
}

start_agent() { # HOST LOG
  lab spawn "$1" agent "$2" "$MUSTER" agent || return 1
  await 20 agent_answers "$1" || { echo "the agent of $1 does not answer: $(tail -n 5 "$2")" >&2; return 1; }
}

hosts_alive() { # HOST N
  [[ $(lab exec "$1" "$MUSTER" nodes --json 2>/dev/null | grep -o '"liveness": *"alive"' | wc -l) == "$2" ]]
}

# One cluster of all N hosts; further words are for `init`.
form_cluster() { # N LOGS [OPTION…]
  local n token
  for ((n = 1; n <= $1; n++)); do start_agent "h$n" "$2/h$n.log"; done
  lab exec h1 "$MUSTER" init "${@:3}" >&2
  for ((n = 2; n <= $1; n++)); do
    token=$(lab exec h1 "$MUSTER" token create)
    lab exec "h$n" "$MUSTER" join "$token" >&2
  done
  await 30 hosts_alive h1 "$1"
}
