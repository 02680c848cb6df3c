# Speed of packets between containers on two hosts: over tunnels and over routes, beside the plain
# network under them and a WireGuard in user space (boringtun), in the same run. Sourced by bench.sh.
# shellcheck shell=bash disable=SC2154

readonly STREAM_S=5 PINGS=500 TURNS=${OVERLAY_TURNS:-3}

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

# Mb/s of one stream between the two containers, and between their hosts.
stream_inside() { stream "$ADDRESS" "${INSIDE_2[@]}" -- "${INSIDE_1[@]}"; }
stream_outside() { stream "$(lab addr h2)" lab exec h2 -- lab exec h1; }

# Sets ROUTED and PLAIN: streams between the containers and between their hosts, in turns, as a machine
# that others use too is now slow, now fast. Each is the middle one of TURNS.
measure_routed() {
  local turn routed=() plain=()
  for ((turn = 1; turn <= TURNS; turn++)); do
    routed+=("$(stream_inside)")
    plain+=("$(stream_outside)")
  done
  ROUTED=$(median "${routed[@]}") PLAIN=$(median "${plain[@]}")
}

# The same where the hosts' network takes 10 Gb/s, as that of many machines does. Without a limit the
# lab's cable is a copy in memory, and all that packets meet on their way is a part of its speed.
measure_on_link() {
  local host
  for host in h1 h2; do
    lab exec "$host" tc qdisc add dev eth0 root tbf rate 10gbit burst 4mb latency 2ms
  done
  measure_routed
  for host in h1 h2; do lab exec "$host" tc qdisc del dev eth0 root; done
}

# Sets BARE: a stream over the same bridges and routes without a rule of anybody, the middle one of TURNS.
measure_bare() {
  local host
  for host in h1 h2; do
    lab stop "$host" agent
    lab exec "$host" nft flush ruleset
    lab exec "$host" sysctl -qw net.bridge.bridge-nf-call-iptables=0
  done
  measure_routed
  BARE=$ROUTED
}

# The addresses of a host's containers.
slice_of() { # HOST
  lab exec h1 "$MUSTER" nodes --json |
    python3 -c 'import json, sys
print(next(node["slice"] for node in json.load(sys.stdin) if node["name"] == sys.argv[1]))' "$1"
}

# Starts boringtun on both hosts, with no packets yet; fails when it is not here.
start_peer() {
  local n other keys=$WORK/keys
  if ! command -v boringtun-cli >/dev/null || ! command -v wg >/dev/null; then
    say "no boringtun to compare with (cargo install boringtun-cli; wireguard-tools)"
    return 1
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
      endpoint "$(lab addr "h$other"):51820" allowed-ips "${SLICES[other]}"
    lab exec "h$n" ip link set wg0 up mtu 1420
  done
}

# Packets of the two containers go by boringtun, over the same bridges and rules. The agents end, and
# with them their tunnels; the rules stay.
to_peer() {
  local n
  for n in 1 2; do lab stop "h$n" agent; done
  for n in 1 2; do
    lab exec "h$n" nft insert rule ip muster guard iifname wg0 accept
    lab exec "h$n" ip route replace "${SLICES[3 - n]}" dev wg0
  done
}

# Packets go by the tunnels again.
to_tunnels() {
  local n
  for n in 1 2; do
    lab exec "h$n" ip route del "${SLICES[3 - n]}" dev wg0
    start_agent "h$n" "$WORK/h$n.log"
  done
  await 30 hosts_alive h1 2 || fail "the cluster does not come back"
}

# The way of the tunnel stands; in its first seconds it finds out how large packets may be.
is_tunnel_ready() {
  lab exec h1 ip route get "$ADDRESS" | grep -q "dev muster1" &&
    "${INSIDE_1[@]}" ping -c 1 -W 1 "$ADDRESS" >/dev/null &&
    (($(lab exec h1 cat /sys/class/net/muster1/mtu) > 1420))
}

# Sets STREAM and TRIP of tunnels, and PEER and PEER_TRIP of boringtun or both to `-`, in turns as well.
measure_tunnels() {
  local n turn streams=() trips=() peers=() peer_trips=() has_peer=1
  for n in 1 2; do SLICES[n]=$(slice_of "h$n"); done
  start_peer || has_peer=
  for ((turn = 1; turn <= TURNS; turn++)); do
    await 30 is_tunnel_ready || fail "the tunnel does not stand, or stays narrow"
    streams+=("$(stream_inside)")
    trips+=("$(round_trip "$ADDRESS" "${INSIDE_1[@]}")")
    [[ -n $has_peer ]] || continue
    to_peer
    peers+=("$(stream_inside)")
    peer_trips+=("$(round_trip "$ADDRESS" "${INSIDE_1[@]}")")
    to_tunnels
  done
  STREAM=$(median "${streams[@]}") TRIP=$(median "${trips[@]}") PEER=- PEER_TRIP=-
  say "round trips by turns: quic ${trips[*]} ms, boringtun ${peer_trips[*]:--} ms"
  [[ -n $has_peer ]] || return 0
  PEER=$(median "${peers[@]}") PEER_TRIP=$(median "${peer_trips[@]}")
}

part_of() { awk -v a="$1" -v part="$2" 'BEGIN { printf "%d", a * part }'; } # NUMBER PART

bench_overlay() {
  local direct target on_link target_on_link SLICES=() ROUTED PLAIN STREAM TRIP PEER PEER_TRIP BARE
  overlay_tools || return 0
  with_muster || return 0
  form_pair direct
  measure_routed
  direct=$ROUTED target=$(part_of "$PLAIN" 0.9)
  say "between hosts without any overlay: $PLAIN Mb/s"
  measure_on_link
  on_link=$ROUTED target_on_link=$(part_of "$PLAIN" 0.9)
  measure_bare
  form_pair quic
  measure_tunnels
  figure "a TCP stream between containers, direct" "$direct" "target (0.9 of plain)" "$target" Mb/s
  figure "a TCP stream between containers, direct" "$direct" "without any rule (floor)" "$BARE" Mb/s
  figure "the same on a network of 10 Gb/s, direct" "$on_link" "target (0.9 of plain)" \
    "$target_on_link" Mb/s
  figure "a TCP stream between containers, quic" "$STREAM" "boringtun" "$PEER" Mb/s
  [[ $PEER_TRIP == - ]] || PEER_TRIP=$(awk -v a="$PEER_TRIP" 'BEGIN { printf "%.3f", a * 1.5 }')
  figure "round trip between containers, quic" "$TRIP" "target (1.5 boringtun)" "$PEER_TRIP" ms
}
