# Speed of packets between containers on two hosts: over tunnels and over routes, beside the plain
# network under them and a WireGuard in user space (boringtun), in the same run. Sourced by bench.sh.
# shellcheck shell=bash disable=SC2154

readonly STREAM_S=5 PINGS=500

# What only this measurement needs; says what is missing.
overlay_tools() {
  local tool missing=()
  for tool in iperf3 ping; do command -v "$tool" >/dev/null || missing+=("$tool"); done
  ((${#missing[@]})) || return 0
  say "NOT MEASURED: overlay, as ${missing[*]} is missing (Debian and Ubuntu: iperf3, iputils-ping)"
  return 1
}

# Mb/s of one TCP stream; the last words are what runs a command at each end.
stream() { # ADDRESS SERVER… -- CLIENT…
  local address=$1 server=()
  shift
  while [[ $1 != -- ]]; do
    server+=("$1")
    shift
  done
  shift
  "${server[@]}" iperf3 -s -D -1 >/dev/null
  await 5 "${server[@]}" sh -c 'ss -Hltn sport = :5201 | grep -q .' || fail "iperf3 does not listen"
  "$@" iperf3 -c "$address" -t "$STREAM_S" -J |
    awk -F'[:,]' '/"sum_received"/ { on = 1 } on && /bits_per_second/ { printf "%d", $2 / 1e6; exit }'
}

# The middle round trip in milliseconds; what else the machine does hits single ones hard.
round_trip() { # ADDRESS CLIENT…
  local address=$1
  shift
  # shellcheck disable=SC2046
  median $("$@" ping -c "$PINGS" -i 0.01 "$address" | sed -n 's/.*time=\([0-9.]*\) ms/\1/p')
}

# The process of a service's container on a host.
process_of() { # HOST SERVICE
  # shellcheck disable=SC2016
  lab exec "$1" sh -c 'docker inspect -f "{{.State.Pid}}" $(docker ps -q --filter label=muster.service='"$2"')'
}

# A container on each of two hosts; sets INSIDE_1, INSIDE_2 (what runs a command in them) and
# ADDRESS (of the second).
place_pair() {
  local n pid
  mkdir -p "$WORK/pair"
  for n in 1 2; do
    printf '  on-h%d:\n    image: %s\n    command: sleep 3600\n    stop_signal: SIGKILL\n' "$n" "$IMAGE"
    printf '    deploy: { placement: { constraints: ["node.hostname==h%d"] } }\n' "$n"
  done | { echo services:; cat; } >"$WORK/pair/compose.yaml"
  (cd "$WORK/pair" && lab exec h1 "$MUSTER" up >"$WORK/pair.log" 2>&1) || fail "$(tail -n 5 "$WORK/pair.log")"
  for n in 1 2; do
    pid=$(process_of "h$n" "on-h$n")
    declare -ga "INSIDE_$n=(lab exec h$n nsenter -t $pid -n)"
  done
  ADDRESS=$("${INSIDE_2[@]}" ip -4 -br address show eth0 | awk '{ sub("/.*", "", $3); print $3 }')
}

# One cluster of N new hosts that have an image; further words are for `init`.
form_hosts() { # N IMAGE [OPTION…]
  local n
  lab down
  lab up "$1"
  for ((n = 1; n <= $1; n++)); do "$HERE/images.sh" load "h$n" "$2"; done
  form_cluster "$1" "$WORK" "${@:3}" || fail "no cluster: $(tail -n 3 "$WORK"/h*.log)"
}

# A cluster of two hosts with a pair of containers.
form_pair() { # quic|direct
  form_hosts 2 "$IMAGE" --overlay "$1"
  place_pair
}

# Sets STREAM and TRIP for one kind of overlay, and FLOOR for the network under it.
measure_overlay() { # quic|direct
  form_pair "$1"
  # A tunnel finds out in its first seconds how large packets may be.
  await 20 wide_enough "$1" || fail "the tunnel stays narrow"
  STREAM=$(stream "$ADDRESS" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}")
  TRIP=$(round_trip "$ADDRESS" "${INSIDE_1[@]}")
  FLOOR=$(stream "$(lab addr h2)" lab exec h2 -- lab exec h1)
}

# Sets ON_LINK and PLAIN_ON_LINK: the same two streams where the hosts' network takes 10 Gb/s, as that of
# many machines does. Without a limit the lab's cable is a copy in memory, and all that packets meet
# on their way is a part of its speed.
measure_on_link() {
  local host
  for host in h1 h2; do
    lab exec "$host" tc qdisc add dev eth0 root tbf rate 10gbit burst 4mb latency 2ms
  done
  ON_LINK=$(stream "$ADDRESS" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}")
  PLAIN_ON_LINK=$(stream "$(lab addr h2)" lab exec h2 -- lab exec h1)
  for host in h1 h2; do lab exec "$host" tc qdisc del dev eth0 root; done
}

# Sets BARE: the same stream over the same bridges and routes without a rule of anybody. The agents
# have ended before.
measure_bare() {
  local host
  for host in h1 h2; do
    lab exec "$host" nft flush ruleset
    lab exec "$host" sysctl -qw net.bridge.bridge-nf-call-iptables=0
  done
  BARE=$(stream "$ADDRESS" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}")
}

wide_enough() { # quic|direct
  [[ $1 == direct ]] || (($(lab exec h1 cat /sys/class/net/muster1/mtu) > 1420))
}

# The addresses of a host's containers.
slice_of() { # HOST
  lab exec h1 "$MUSTER" nodes --json |
    python3 -c 'import json, sys
print(next(node["slice"] for node in json.load(sys.stdin) if node["name"] == sys.argv[1]))' "$1"
}

# Sets STREAM and TRIP for the same two containers with boringtun between their hosts in place of
# routes, or both to `-` when it is not here. The agents end, and what they set up stays.
measure_peer() {
  local n other keys=$WORK/keys slices=()
  for n in 1 2; do slices[n]=$(slice_of "h$n"); done
  for n in 1 2; do lab stop "h$n" agent; done
  STREAM=- TRIP=-
  if ! command -v boringtun-cli >/dev/null || ! command -v wg >/dev/null; then
    say "no boringtun to compare with (cargo install boringtun-cli; wireguard-tools)"
    return 0
  fi
  mkdir -p "$keys"
  for n in 1 2; do
    (umask 77 && wg genkey >"$keys/$n")
    wg pubkey <"$keys/$n" >"$keys/$n.pub"
    lab spawn "h$n" peer "$WORK/peer.log" "$(command -v boringtun-cli)" -f --disable-drop-privileges wg0
  done
  for n in 1 2; do
    other=$((3 - n))
    await 10 lab exec "h$n" ip link show wg0 >/dev/null || fail "boringtun did not start"
    lab exec "h$n" wg set wg0 listen-port 51820 private-key "$keys/$n" peer "$(<"$keys/$other.pub")" \
      endpoint "$(lab addr "h$other"):51820" allowed-ips "${slices[other]}"
    lab exec "h$n" ip link set wg0 up mtu 1420
    lab exec "h$n" ip route replace "${slices[other]}" dev wg0
  done
  STREAM=$(stream "$ADDRESS" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}")
  TRIP=$(round_trip "$ADDRESS" "${INSIDE_1[@]}")
  for n in 1 2; do
    other=$((3 - n))
    lab exec "h$n" ip route replace "${slices[other]}" via "$(lab addr "h$other")"
    lab stop "h$n" peer
  done
}

bench_overlay() {
  local quic direct floor direct_floor BARE ON_LINK PLAIN_ON_LINK peer peer_trip
  overlay_tools || return 0
  with_muster || return 0
  measure_overlay direct
  direct=$STREAM direct_floor=$(awk -v a="$FLOOR" 'BEGIN { printf "%d", a * 0.9 }')
  measure_on_link
  measure_peer
  peer=$STREAM peer_trip=$TRIP
  measure_bare
  measure_overlay quic
  quic=$STREAM floor=$FLOOR
  say "between hosts without any overlay: $floor Mb/s"
  figure "a TCP stream between containers, direct" "$direct" "target (0.9 of plain)" "$direct_floor" Mb/s
  figure "a TCP stream between containers, direct" "$direct" "without any rule (floor)" "$BARE" Mb/s
  figure "the same on a network of 10 Gb/s, direct" "$ON_LINK" "target (0.9 of plain)" \
    "$(awk -v a="$PLAIN_ON_LINK" 'BEGIN { printf "%d", a * 0.9 }')" Mb/s
  figure "a TCP stream between containers, quic" "$quic" "boringtun" "$peer" Mb/s
  [[ $peer_trip == - ]] || peer_trip=$(awk -v a="$peer_trip" 'BEGIN { printf "%.3f", a * 1.5 }')
  figure "round trip between containers, quic" "$TRIP" "target (1.5 boringtun)" "$peer_trip" ms
  lab down
}
