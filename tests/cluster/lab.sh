#!/usr/bin/env bash
# A lab of real Docker hosts on one Linux machine, for the cluster tests and the demo.
#
# A host is a set of namespaces (net, mount, pid, uts, ipc) whose process 1 is a small reaper; in it
# runs a dockerd with its default paths. A further set of namespaces, the `outside`, holds the switch
# that joins the hosts. Nothing is created in the machine's own network, so its firewall cannot touch
# the lab and the lab cannot touch it. Killing process 1 of a host kills every process in it, which
# is what a power cut does; the kernel then removes its links, rules, routes and mounts by itself.
#
# It never stops a process by name, and never changes a kernel setting outside its namespaces.
# It is one file, long as it is, because it runs itself as process 1 of the hosts.
set -euo pipefail

SELF=$(realpath "${BASH_SOURCE[0]}")
REPOSITORY=$(realpath "$(dirname "$SELF")/../..")
NAME=${MUSTER_LAB_NAME:-lab}
NET=${MUSTER_LAB_NET:-0}
STATE=$(realpath -m "${MUSTER_LAB_DIR:-$REPOSITORY/.lab}/$NAME")
# Two checkouts may both have a lab called `lab`: the checksum of the path keeps their cgroups apart.
CGROUP=lab-$NAME-$(printf %s "$STATE" | cksum | cut -d' ' -f1)
readonly SELF REPOSITORY NAME NET STATE CGROUP
readonly OUTSIDE=outside
readonly HOSTS_MAX=50 # Addresses are 10.77.NET.(10+N); 50 dockerds are more than any machine here bears.
readonly DOCKER_READY_S=60

usage() {
  cat >&2 <<'USAGE'
usage: lab.sh COMMAND
  check                     can the lab run here? if not, says why and exits 1
  up N                      start hosts h1..hN (or those of them that do not run)
  down                      stop and remove everything
  status                    one line a host: name, address, up or off, process id
  exec H CMD…               run CMD in host H (`outside` is a machine beside the hosts, without Docker)
  spawn H NAME LOG CMD…     the same in the background, output appended to LOG
  stop H NAME [SIGNAL]      signal what `spawn` started (TERM) and wait until it has ended
  pid H NAME                the process id, on this machine, of what `spawn` started
  addr H                    the address of H
  cut H, heal H             pull the network cable of H, plug it in again
  kill H, boot H            power off at once, power on with the same disk
  partition A B, rejoin A B drop everything between A and B, stop dropping it
  oneway A B                drop what A sends to B; `rejoin` ends it
environment:
  MUSTER_LAB_NAME  name of the lab (lab)     MUSTER_LAB_DIR  parent of its state (.lab)
  MUSTER_LAB_NET   X in 10.77.X.0/24 (0)
USAGE
  exit 2
}

fail() {
  echo "lab: $*" >&2
  exit 1
}

# --- processes ----------------------------------------------------------------------------------

# The start time of a process, in ticks: with the pid it names one process for ever, so that a
# recorded pid that now belongs to somebody else is never signalled.
start_time() {
  local stat fields
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
  read -ra fields <<<"${stat##*) }" # The command name before it may hold spaces.
  [[ ${fields[0]} != [ZX] ]] || return 1
  echo "${fields[19]}"
}

# Prints the pid recorded in a file when that process still runs.
recorded_pid() {
  local pid started
  { read -r pid started <"$1"; } 2>/dev/null || return 1
  [[ $(start_time "$pid") == "$started" ]] || return 1
  echo "$pid"
}

record_pid() { # FILE PID
  echo "$2 $(start_time "$2")" >"$1.new"
  mv "$1.new" "$1"
}

# Runs a condition every 50 ms until it holds; fails after SECONDS.
wait_for() { # SECONDS CONDITION…
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

has_ended() { ! recorded_pid "$1" >/dev/null; }

kill_recorded() { # FILE
  local pid
  if pid=$(recorded_pid "$1"); then
    kill -KILL "$pid" 2>/dev/null || true
    wait_for 20 has_ended "$1" || fail "process $pid of $1 does not die"
  fi
  rm -f "$1"
}

# --- namespaces ---------------------------------------------------------------------------------

init_pid() { # HOST
  recorded_pid "$STATE/$1/init.pid"
}

need_running() {
  init_pid "$1" || fail "host \`$1\` is not running"
}

# Runs a shell script in a host, in the same working directory. `nsenter` must not fork for us: it
# would die of a Ctrl-C that the command would rather handle. So the shell forks: only its children
# are in the host's pid namespace, and the last `exit` keeps it from becoming the command itself.
enter() { # HOST SCRIPT ARG…
  local pid
  pid=$(need_running "$1") || exit 1
  shift
  nsenter --target "$pid" --net --mount --uts --ipc --pid --no-fork -- \
    bash -c "cd \"\$1\" || exit 1; shift; $1; exit \$?" lab "$PWD" "${@:2}"
}

in_network() { # HOST CMD…
  local pid
  pid=$(need_running "$1") || exit 1
  shift
  nsenter --target "$pid" --net -- "$@"
}

# Starts process 1 of a host (or of the outside) in namespaces of its own. It inherits no lock.
start_init() { # HOST
  local dir=$STATE/$1
  mkdir -p "$dir"
  setsid unshare --net --mount --pid --fork --kill-child --uts --ipc --propagation private -- \
    bash "$SELF" __init "$1" </dev/null >"$dir/init.log" 2>&1 9>&- &
  disown
  # Process 1 records itself once it is ready; until then, this is how `down` finds it.
  record_pid "$dir/unshare.pid" $! 2>/dev/null || true
  wait_for 20 init_pid "$1" >/dev/null || fail "host \`$1\` did not start: $(<"$dir/init.log")"
}

end_init() { # HOST
  kill_recorded "$STATE/$1/init.pid"
  kill_recorded "$STATE/$1/unshare.pid"
}

# Process 1: builds the host's view of the file system, says it is ready, then reaps orphans.
init_main() { # HOST
  local host=$1 stat
  # /proc is still the machine's here, so this is our pid as seen from outside. A builtin reads it:
  # `self` is whoever opens the file.
  read -r stat </proc/self/stat
  local started
  started=$(start_time "${stat%% *}")
  hostname "$host"
  [[ $host == "$OUTSIDE" ]] || private_paths "$host"
  mount -t proc proc /proc
  # dockerd raises these two limits of the whole machine; read-only, it logs that and goes on.
  mount --bind /proc/sys/kernel/keys /proc/sys/kernel/keys
  mount -o remount,bind,ro /proc/sys/kernel/keys
  echo "${stat%% *} $started" >"$STATE/$host/init.pid.new"
  mv "$STATE/$host/init.pid.new" "$STATE/$host/init.pid"
  # The shell collects every child that ends while it waits, adopted ones too.
  while :; do
    sleep 86400 &
    wait $! || true
  done
}

# Gives a host paths of its own, so that programs in it use the default ones as on a real machine.
private_paths() { # HOST
  local host=$1 dir=$STATE/$1
  mkdir -p "$dir/docker" "$dir/muster"
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock /run/lab/sys
  private_copy /etc
  private_copy /var/lib
  mkdir -p /var/lib/docker /var/lib/muster
  mount --bind "$dir/docker" /var/lib/docker
  mount --bind "$dir/muster" /var/lib/muster
  # A /sys of this network namespace, with the machine's cgroups put back: dockerd needs them. What
  # else is mounted there stays away; without securityfs, dockerd does without AppArmor and loads no
  # profile into the machine's kernel.
  mount --rbind /sys/fs/cgroup /run/lab/sys
  mount -t sysfs sysfs /sys
  mount --rbind /run/lab/sys /sys/fs/cgroup
  umount -l /run/lab/sys
  write_etc "$host"
}

# Lays a writable layer in memory over a directory: what is written there is seen in this host only.
private_copy() { # DIRECTORY
  local layer=/run/lab/layer${1//\//-}
  mkdir -p "$layer/upper" "$layer/work"
  mount -t overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" overlay "$1"
}

write_etc() { # HOST
  rm -f /etc/resolv.conf /etc/hostname /etc/hosts /etc/docker/daemon.json
  echo "$1" >/etc/hostname
  {
    echo "127.0.0.1 localhost"
    local n
    for ((n = 1; n <= HOSTS_MAX; n++)); do echo "$(address "h$n") h$n"; done
  } >/etc/hosts
  # Nothing answers names there and the kernel says so at once: a look-up fails in milliseconds,
  # where an address that swallows queries would hang it for 10 to 30 s.
  echo "nameserver $(address "$OUTSIDE")" >/etc/resolv.conf
  mkdir -p /etc/docker
  # `native.cgroupdriver`: systemd, the default on cgroup v2, knows nothing of our hosts.
  cat >/etc/docker/daemon.json <<JSON
{ "cgroup-parent": "/$CGROUP-$1", "exec-opts": ["native.cgroupdriver=cgroupfs"] }
JSON
}

# --- network ------------------------------------------------------------------------------------

address() { # HOST
  if [[ $1 == "$OUTSIDE" ]]; then
    echo "10.77.$NET.1"
  else
    echo "10.77.$NET.$((10 + ${1#h}))"
  fi
}

hardware_address() { # HOST; fixed, as a real machine's is, so that neighbours need not learn anew
  printf '02:4d:75:00:%02x:%02x' "$NET" "${1#h}"
}

start_outside() {
  if init_pid "$OUTSIDE" >/dev/null; then return; fi
  start_init "$OUTSIDE"
  # `ip_forward` with an unreachable default: whoever leaves the lab is told so at once, not left
  # to a timeout. These settings belong to the network namespace.
  in_network "$OUTSIDE" bash -euo pipefail -s "$(address "$OUTSIDE")" <<'SCRIPT'
ip link set lo up
ip link add lab0 address 02:4d:75:00:ff:ff type bridge
ip address add "$1/24" dev lab0
ip link set lab0 up
ip route add unreachable default
set_to() { if [[ -e /proc/sys/net/$1 ]]; then echo "$2" >"/proc/sys/net/$1"; fi; }
set_to ipv4/ip_forward 1
set_to ipv4/icmp_ratelimit 0
set_to bridge/bridge-nf-call-iptables 0
set_to bridge/bridge-nf-call-ip6tables 0
nft -f - <<'NFT'
table bridge lab {
  set blocked { type ifname . ifname; }
  chain forward { type filter hook forward priority 0; iifname . oifname @blocked drop; }
}
NFT
SCRIPT
}

# A cable from the switch to the host: `hN` at the switch, `eth0` in the host.
plug_in() { # HOST
  local host=$1 pid
  pid=$(need_running "$host") || exit 1
  # A killed host's cable goes when the kernel gets to it; do not wait for that.
  in_network "$OUTSIDE" ip link delete "$host" 2>/dev/null || true
  in_network "$OUTSIDE" ip link add "$host" type veth \
    peer name eth0 address "$(hardware_address "$host")" netns "$pid"
  in_network "$OUTSIDE" ip link set "$host" master lab0 up
  in_network "$host" ip link set lo up
  in_network "$host" ip address add "$(address "$host")/24" dev eth0
  in_network "$host" ip link set eth0 up
  in_network "$host" ip route add default via "$(address "$OUTSIDE")"
}

block() { # add|delete|one A B
  local verb=${1/one/add} pair pairs=("\"$2\" . \"$3\"" "\"$3\" . \"$2\"")
  if [[ $1 == one ]]; then pairs=("${pairs[0]}"); fi
  for pair in "${pairs[@]}"; do
    in_network "$OUTSIDE" nft "$verb" element bridge lab blocked "{ $pair }" 2>/dev/null || [[ $verb == delete ]]
  done
}

# --- hosts --------------------------------------------------------------------------------------

# Every host this lab has a directory for, running or not.
known_hosts() {
  local dir
  for dir in "$STATE"/h*/; do
    if [[ -d $dir ]]; then basename "$dir"; fi
  done | sort -V
}

need_host() {
  [[ ${1:-} =~ ^h[0-9]+$ && -d $STATE/$1 ]] || fail "no host \`${1:-}\` in lab \`$NAME\`"
}

# Starts a command in the background of a host and records it. The shell in parentheses is in the
# host and ends at once, so that the host's process 1 adopts the command: left to the machine's own
# process 1, a power cut would have to wait until that one collects the dead.
start_process() { # HOST NAME LOG CMD…
  local host=$1 file=$STATE/$1/$2.process inner pid
  if recorded_pid "$file" >/dev/null; then fail "\`$2\` already runs on \`$host\`"; fi
  # `setsid` and `env` become the command without a fork. `env` undoes that a shell without job
  # control starts what is in the background deaf to Ctrl-C.
  # shellcheck disable=SC2016 # The inner shell expands these.
  inner=$(enter "$host" 'log=$1; shift
    (setsid env --default-signal=INT,QUIT "$@" </dev/null >>"$log" 2>&1 9>&- & echo $!)' "${@:3}")
  if ! { pid=$(outer_pid "$host" "$inner") && record_pid "$file" "$pid" 2>/dev/null; }; then
    fail "\`$2\` ended at once on \`$host\`; see $3"
  fi
}

# The pid by which the machine knows a child of a host's process 1.
outer_pid() { # HOST PID_IN_HOST
  local init child
  init=$(need_running "$1") || exit 1
  for child in $(<"/proc/$init/task/$init/children"); do
    if grep -Eqs "^NSpid:.*[[:space:]]$2\$" "/proc/$child/status"; then
      echo "$child"
      return
    fi
  done
  return 1
}

start_dockerd() { # HOST
  local dir=$STATE/$1
  if recorded_pid "$dir/dockerd.process" >/dev/null; then return; fi
  # A clean environment: a proxy of the machine's user would be asked for images and time out.
  enter "$1" 'rm -f /run/docker.pid' # Of a dockerd that was killed alone.
  start_process "$1" dockerd "$dir/dockerd.log" env -i PATH="$PATH" HOME=/root dockerd
}

docker_answers() {
  enter "$1" 'docker version >/dev/null 2>&1'
}

await_docker() { # HOST
  wait_for "$DOCKER_READY_S" docker_answers "$1" ||
    fail "dockerd of \`$1\` does not answer after $DOCKER_READY_S s: $(tail -n 3 "$STATE/$1/dockerd.log")"
}

start_host() { # HOST
  if ! init_pid "$1" >/dev/null; then start_init "$1"; fi
  if ! in_network "$OUTSIDE" ip link show "$1" >/dev/null 2>&1 ||
    ! in_network "$1" ip link show eth0 >/dev/null 2>&1; then plug_in "$1"; fi
  start_dockerd "$1"
}

power_off() { # HOST
  # The cable first: a machine that loses its power says goodbye to nobody.
  if init_pid "$OUTSIDE" >/dev/null; then
    in_network "$OUTSIDE" ip link set "$1" down 2>/dev/null || true
  fi
  end_init "$1"
  rm -f "$STATE/$1"/*.process
  if init_pid "$OUTSIDE" >/dev/null; then
    in_network "$OUTSIDE" ip link delete "$1" 2>/dev/null || true
  fi
  remove_cgroups "$CGROUP-$1"
}

# Containers leave their empty groups behind when nobody is left to clean up.
remove_cgroups() { # NAME
  local group
  for group in $(cgroup_directories "$1"); do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

cgroup_directories() { # NAME, or a pattern
  find /sys/fs/cgroup -mindepth 1 -maxdepth 2 -type d -name "$1" 2>/dev/null || true
}

# --- commands -----------------------------------------------------------------------------------

# Prints why the lab cannot run here; prints nothing when it can.
obstacle() {
  if [[ $(uname -s) != Linux ]]; then echo "the lab needs Linux"; return; fi
  if ((EUID != 0)); then echo "the lab needs root"; return; fi
  local tool
  for tool in dockerd docker containerd runc iptables nft ip nsenter unshare setsid flock; do
    if ! command -v "$tool" >/dev/null; then
      echo "the lab needs \`$tool\`, which is not in the path" \
        "(packages: docker.io iptables nftables iproute2 util-linux)"
      return
    fi
  done
  if [[ ! $NAME =~ ^[a-z][a-z0-9-]{0,30}$ || $NAME == cache ]]; then
    echo "\`$NAME\` cannot be the name of a lab"
    return
  fi
  if [[ ! $NET =~ ^(0|[1-9][0-9]{0,2})$ ]] || ((NET > 255)); then
    echo "MUSTER_LAB_NET must be a number from 0 to 255"
    return
  fi
  case $STATE/ in
    /run/* | /var/run/* | /etc/* | /var/lib/*) # A host has its own of these.
      echo "the lab's state cannot lie in $STATE: set MUSTER_LAB_DIR elsewhere"
      return ;;
  esac
  if [[ -z $(ls /sys/fs/cgroup 2>/dev/null) ]]; then
    echo "the lab needs cgroups mounted in /sys/fs/cgroup"
    return
  fi
  if ! unshare --net --mount --pid --fork --uts --ipc --propagation private -- bash -c \
    'ip link add test0 type bridge && ip link add test1 type veth peer name test2 &&
      nft add table bridge test' \
    >/dev/null 2>&1; then
    echo "the lab may not create namespaces, bridges or nft tables here (a container needs --privileged)"
  fi
}

cmd_check() {
  local why
  why=$(obstacle)
  if [[ -n $why ]]; then
    echo "$why"
    exit 1
  fi
}

cmd_up() { # N
  if [[ ! ${1:-} =~ ^[0-9]{1,3}$ ]] || (($1 < 1 || $1 > HOSTS_MAX)); then
    fail "\`up\` needs a number of hosts, 1 to $HOSTS_MAX"
  fi
  local why n
  why=$(obstacle)
  [[ -z $why ]] || fail "$why"
  start_outside
  for ((n = 1; n <= $1; n++)); do start_host "h$n"; done
  for ((n = 1; n <= $1; n++)); do await_docker "h$n"; done
}

cmd_down() {
  local host left
  [[ -d $STATE ]] || return 0
  for host in $(known_hosts); do power_off "$host"; done
  end_init "$OUTSIDE"
  remove_cgroups "$CGROUP-*"
  rm -rf --one-file-system "$STATE" || true
  left=$(
    cgroup_directories "$CGROUP-*"
    grep -F " $STATE/" /proc/self/mountinfo || true
    ls -d "$STATE" 2>/dev/null || true
  )
  if [[ -n $left ]]; then fail "could not remove: $left"; fi
}

cmd_status() {
  local host pid
  for host in $(known_hosts); do
    if pid=$(init_pid "$host"); then
      echo "$host $(address "$host") up $pid"
    else
      echo "$host $(address "$host") off -"
    fi
  done
}

cmd_exec() { # HOST CMD…
  (($# >= 2)) || usage
  # `env`, so that no builtin runs in its place: the shell itself is not in the host's pid namespace,
  # and its `kill` would meet processes of the machine.
  # shellcheck disable=SC2016 # The inner shell expands it.
  enter "$1" 'env -- "$@"' "${@:2}"
}

cmd_spawn() { # HOST NAME LOG CMD…
  (($# >= 4)) || usage
  [[ $2 =~ ^[A-Za-z0-9_.-]+$ ]] || fail "\`$2\` cannot be the name of a process"
  start_process "$1" "$2" "$(realpath -m "$3")" "${@:4}"
}

cmd_stop() { # HOST NAME [SIGNAL]
  (($# == 2 || $# == 3)) || usage
  local file=$STATE/$1/$2.process signal=${3:-TERM} pid
  pid=$(recorded_pid "$file") || fail "\`$2\` does not run on \`$1\`"
  kill -s "$signal" "$pid"
  case $signal in
    TERM | INT | QUIT | KILL)
      wait_for 30 has_ended "$file" || fail "\`$2\` on \`$1\` still runs 30 s after SIG$signal"
      rm -f "$file" ;;
  esac
}

cmd_pid() { # HOST NAME
  (($# == 2)) || usage
  recorded_pid "$STATE/$1/$2.process" || fail "\`$2\` does not run on \`$1\`"
}

cmd_kill() {
  need_host "${1:-}"
  power_off "$1"
}

cmd_boot() {
  need_host "${1:-}"
  start_host "$1"
  await_docker "$1"
}

cmd_link() { # UP_OR_DOWN HOST
  need_host "${2:-}"
  in_network "$OUTSIDE" ip link set "$2" "$1"
}

cmd_block() { # add|delete|one A B
  need_host "${2:-}"
  need_host "${3:-}"
  block "$@"
}

# One change of the lab at a time; `exec` and the like need no lock.
lock() {
  [[ -n $(obstacle) ]] || mkdir -p "$STATE"
  [[ ! -d $STATE ]] || { exec 9>"$STATE/lock" && flock 9; }
}

main() {
  local command=${1:-}
  shift || true
  case $command in
    check) cmd_check ;;
    up) lock && cmd_up "$@" ;;
    down) [[ ! -d $STATE ]] || { lock && cmd_down; } ;;
    status) cmd_status ;;
    exec) cmd_exec "$@" ;;
    spawn) cmd_spawn "$@" ;;
    stop) cmd_stop "$@" ;;
    pid) cmd_pid "$@" ;;
    addr) address "${1:?}" ;;
    cut) cmd_link down "$@" ;;
    heal) cmd_link up "$@" ;;
    kill) lock && cmd_kill "$@" ;;
    boot) lock && cmd_boot "$@" ;;
    partition) cmd_block add "$@" ;;
    oneway) cmd_block one "$@" ;;
    rejoin) cmd_block delete "$@" ;;
    __init) init_main "$@" ;;
    *) usage ;;
  esac
}

main "$@"
