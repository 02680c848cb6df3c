# Speed of the names, beside dnsmasq in the same run: the same names and questions over UDP on
# loopback, the server alone on one core, the load generator on another. Sourced by bench.sh.
# shellcheck shell=bash disable=SC2154

readonly NAMES=500 LOAD_S=5 STEADY=10000 FLOOD=50000 DNS_PORT=15353
readonly SERVER_CORE=0 CLIENT_CORE=1

# What only this measurement needs; says what is missing.
dns_tools() {
  if ! command -v dnsperf >/dev/null; then
    say "NOT MEASURED: dns, as dnsperf is missing (Debian and Ubuntu: dnsperf)"
    return 1
  fi
  # `taskset` takes a core that is there for one of two that are not.
  if ! { taskset -c "$SERVER_CORE" true && taskset -c "$CLIENT_CORE" true; } 2>/dev/null; then
    say "NOT MEASURED: dns, as it takes two cores"
    return 1
  fi
}

write_questions() {
  local n
  for ((n = 0; n < NAMES; n++)); do
    echo "10.223.$((n / 256)).$((n % 256)) service$n.shop.internal" >>"$WORK/dns.hosts"
    echo "service$n.shop.internal A" >>"$WORK/dns.questions"
  done
}

# Starts a server on the server's core and waits until it listens; sets SERVER. It dies with us.
serve() { # CMD…
  setpriv --pdeathsig KILL taskset -c "$SERVER_CORE" "$@" >"$WORK/dns.log" 2>&1 &
  SERVER=$!
  await 10 sh -c "ss -Hlun sport = :$DNS_PORT | grep -q ." || fail "no server: $(tail -n 3 "$WORK/dns.log")"
}

serve_ours() { # [RATE]
  serve "${CARGO_TARGET_DIR:-$REPOSITORY/target}/release/examples/serve" "$DNS_PORT" "$NAMES" "$@"
}

# `--user`: one that changes its user does not die with us.
serve_dnsmasq() {
  serve dnsmasq --keep-in-foreground --user="$(id -un)" --pid-file= --conf-file=/dev/null --no-resolv \
    --no-hosts --addn-hosts="$WORK/dns.hosts" --local=/internal/ --local-ttl=1 --bind-interfaces \
    --listen-address=127.0.0.1 --port="$DNS_PORT"
}

end_server() {
  kill "$SERVER"
  wait "$SERVER" 2>/dev/null || true
}

# Processor time of the server in ticks of 10 ms.
server_ticks() { sed 's/.*) //' "/proc/$SERVER/stat" | awk '{ print $12 + $13 }'; }

ask() { # OPTION…
  taskset -c "$CLIENT_CORE" dnsperf -s 127.0.0.1 -p "$DNS_PORT" -d "$WORK/dns.questions" -W "$@"
}

# Sets RATE: answers a second at full load. Every answer must have its record.
take_rate() { # NAME
  local before report
  before=$(server_ticks)
  report=$(ask -c 8 -q 200 -l "$LOAD_S")
  RATE=$(awk '/Queries per second/ { printf "%d", $4 }' <<<"$report")
  all_answered "$report" || fail "not every question to $1 has its answer: $report"
  awk -v n="$(awk '/Queries completed/ { print $3 }' <<<"$report")" -v ticks="$(($(server_ticks) - before))" \
    -v name="$1" -v rate="$RATE" \
    'BEGIN { printf "bench: %s: %d /s, %d for a second of its processor time\n", name, rate, n * 100 / ticks }' >&2
}

# At full load a queue may lose some; nothing else than an answer may come.
all_answered() { # REPORT
  [[ $(awk '/Response codes/ { $1 = $2 = ""; print }' <<<"$1") == *NOERROR*100.00%* ]]
}

# Sets P99 in milliseconds at a steady rate; a question that is lost counts as the longest wait.
take_p99() { # QUESTIONS_PER_SECOND [OPTION…]
  ask -c 8 -Q "$1" -l "$LOAD_S" -t 1 -v "${@:2}" >"$WORK/dns.each"
  P99=$(awk '$1 == ">" { print $2 == "T" ? 1000 : $NF * 1000 }' "$WORK/dns.each" | sort -n |
    awk -v wanted="$(($1 * LOAD_S * 9 / 10))" \
      '{ v[NR] = $1 } END { if (NR >= wanted) printf "%.3f", v[int(NR * 0.99 + 0.999)] }')
  [[ -n $P99 ]] || fail "the load generator did not reach $1 questions a second"
}

# Sets P99 of one container while another one asks far too much, or `-` when that one did not get
# enough of its core. The flood is made at the lowest priority: who asks must not wait for it, since
# only the server is measured.
take_flooded() {
  local flood asked
  serve_ours 1000
  (
    renice -n 19 -p "$BASHPID" >/dev/null
    chrt --other -p 0 "$BASHPID"
    ask -a 127.0.0.2 -c 8 -Q "$FLOOD" -q 60000 -t 0.5 -l "$((LOAD_S + 2))" >"$WORK/dns.flood"
  ) &
  flood=$!
  await 5 server_works || fail "no flood: $(tail -n 3 "$WORK/dns.flood")"
  take_p99 500 -a 127.0.0.3
  wait "$flood"
  end_server
  asked=$(($(awk '/Queries sent/ { print $3 }' "$WORK/dns.flood") / (LOAD_S + 2)))
  ((asked < FLOOD * 9 / 10)) || return 0
  say "dns: the flood had $asked questions a second of $FLOOD"
  P99=-
}

server_works() { (($(server_ticks) > 2)); }

bench_dns() {
  local round other=() rates=() p99s=() their_rates=() their_p99s=() flooded=() rate=- p99=-
  dns_tools || return 0
  (cd "$REPOSITORY" && cargo build -q --release --locked -p muster-dns --example serve)
  write_questions
  if command -v dnsmasq >/dev/null; then other=(serve_dnsmasq); else
    say "NOT MEASURED: dnsmasq beside it, as it is missing (Debian and Ubuntu: dnsmasq-base)"
  fi
  for ((round = 1; round <= ROUNDS; round++)); do
    serve_ours
    take_rate ours && rates+=("$RATE")
    take_p99 "$STEADY" && p99s+=("$P99")
    end_server
    if ((${#other[@]})); then
      "${other[@]}"
      take_rate dnsmasq && their_rates+=("$RATE")
      take_p99 "$STEADY" && their_p99s+=("$P99")
      end_server
    fi
    take_flooded
    [[ $P99 == - ]] || flooded+=("$P99")
    say "dns, round $round: p99 ${p99s[-1]} ms, dnsmasq ${their_p99s[-1]:--} ms; ours flooded $P99 ms"
  done
  if ((${#other[@]})); then
    rate=$(median "${their_rates[@]}") p99=$(median "${their_p99s[@]}")
  fi
  figure "names answered on one core" "$(median "${rates[@]}")" "dnsmasq" "$rate" /s
  figure "names answered on one core" "$(median "${rates[@]}")" "target (more is good)" 40000 /s
  figure "names at $STEADY /s, p99" "$(median "${p99s[@]}")" "dnsmasq" "$p99" ms
  figure "names at $STEADY /s, p99" "$(median "${p99s[@]}")" "target" 1.000 ms
  if ((${#flooded[@]})); then
    figure "names while one asks $FLOOD /s, p99" "$(median "${flooded[@]}")" "target" 10.000 ms
  else
    say "NOT MEASURED: names during a flood, as its core had no room for $FLOOD questions a second"
  fi
}
