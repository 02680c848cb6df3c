#!/usr/bin/env bash
# Builds the images of the examples out of the distribution's own packages, under the names a
# registry would serve, so that the lab needs no registry. Needs root, debootstrap and whatever apt
# on this machine uses; no Docker. Layers are cached under a key of everything that makes them.
#
# The images stand in for the official ones only as far as tests and examples go; never publish them.
set -euo pipefail

SELF=$(realpath "${BASH_SOURCE[0]}")
HERE=$(dirname "$SELF")
CACHE=$(realpath -m "${MUSTER_IMAGE_CACHE:-$HERE/../../.lab/cache}")
readonly SELF HERE CACHE
readonly ALL=(busybox:1 debian:bookworm-slim python:3.11-slim redis:7 postgres:15)

fail() {
  echo "images: $*" >&2
  exit 1
}

usage() {
  cat >&2 <<USAGE
usage: images.sh COMMAND
  check             can images be built here? if not, says why and exits 1
  build [IMAGE…]    build what is not in the cache (all: ${ALL[*]})
  load H IMAGE…     put images into host H of the lab (see lab.sh); builds what is missing
  save IMAGE…       write an archive for \`docker load\` to standard output
  size [IMAGE…]     one line an image: name, MB
environment: MUSTER_IMAGE_CACHE (.lab/cache)
USAGE
  exit 2
}

# Prints why images cannot be built here; prints nothing when they can.
obstacle() {
  local tool
  if [[ $(uname -s) != Linux ]] || ((EUID != 0)); then echo "building images needs Linux and root"; return; fi
  for tool in apt-get dpkg-deb debootstrap unshare sha256sum; do
    if ! command -v "$tool" >/dev/null; then
      echo "building images needs \`$tool\`, which is not installed (Debian and Ubuntu: debootstrap)"
      return
    fi
  done
}

cmd_check() {
  local why
  why=$(obstacle)
  if [[ -n $why ]]; then
    echo "$why"
    exit 1
  fi
}

# --- the machine --------------------------------------------------------------------------------

os_release() { (. /etc/os-release && echo "${!1}"); }

architecture() {
  case $(uname -m) in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    armv7l) echo arm ;;
    *) fail "no image architecture known for $(uname -m)" ;;
  esac
}

keyring() { echo "/usr/share/keyrings/$(os_release ID)-archive-keyring.gpg"; }

# The machine's own package sources for this suite, as `URI RELEASE COMPONENT` lines.
sources() {
  local suite
  suite=$(os_release VERSION_CODENAME)
  # shellcheck disable=SC2016 # apt expands these.
  apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
    awk -v s="$suite" '$2 == s || $2 == s "-updates" || $2 == s "-security"' | sort -u
}

# An apt of our own in the cache: the machine's mirrors, proxies and keys, but none of its other
# repositories, hooks or state.
prepare_apt() {
  local apt=$CACHE/apt lines
  export APT_CONFIG=$apt/apt.conf
  # Lists older than a day may name packages that the mirror no longer has.
  if [[ -n $(find "$apt/ready" -mmin -1440 2>/dev/null) ]]; then return; fi
  lines=$(APT_CONFIG='' sources)
  if [[ -z $lines ]]; then
    fail "apt here knows no packages of $(os_release VERSION_CODENAME); run \`apt-get update\`"
  fi
  mkdir -p "$apt"/{state/lists/partial,cache/archives/partial,debs}
  awk -v k="$(keyring)" '{ print "deb [signed-by=" k "]", $1, $2, $3 }' <<<"$lines" >"$apt/sources.list"
  {
    APT_CONFIG='' apt-config dump | grep '^Acquire::' || true
    cat <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::Parts "/dev/null";
Dir::Etc::SourceList "$apt/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::State "$apt/state";
Dir::Cache "$apt/cache";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
DPkg::Use-Pty "false";
CONF
  } >"$apt/apt.conf"
  apt-get update -qq
  touch "$apt/ready"
}

# Installs packages into a root. apt runs outside of it, dpkg inside.
install_into() { # ROOT PACKAGE…
  local root=$1
  shift
  mkdir -p "$root/var/cache/apt/archives"
  mount --bind "$CACHE/apt/cache" "$root/var/cache/apt"
  mount -t proc proc "$root/proc"
  # Services must not be started by their installation.
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
  chmod +x "$root/usr/sbin/policy-rc.d"
  DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get install -y -qq \
    -o Dir::State::status="$root/var/lib/dpkg/status" -o Dir::Cache="$root/var/cache/apt" \
    -o DPkg::Chroot-Directory="$root" "$@" >&2
  rm "$root/usr/sbin/policy-rc.d"
  umount "$root/proc" "$root/var/cache/apt"
  clean_root "$root"
}

clean_root() { # ROOT
  (cd "$1" && rm -rf usr/share/{doc,man,info,locale,lintian,bug}/* var/cache/{apt,debconf,ldconfig}/* \
    var/lib/apt/lists/* var/log/* var/lib/dpkg/*-old tmp/* run/*)
}

# --- recipes: each fills ROOT, which already holds the layer below --------------------------------

recipe_debian() { # ROOT
  local root=$1 uri
  uri=$(awk -v s="$(os_release VERSION_CODENAME)" '$4 == s { print $3; exit }' "$CACHE/apt/sources.list")
  debootstrap --foreign --variant=minbase --keyring="$(keyring)" --cache-dir="$CACHE/apt/debs" \
    "$(os_release VERSION_CODENAME)" "$root" "$uri" >&2
  # Before the packages are unpacked for good: no documentation, and no fsync for each file, which
  # is most of the time.
  cat >"$root/etc/dpkg/dpkg.cfg.d/image" <<'CFG'
force-unsafe-io
path-exclude /usr/share/doc/*
path-exclude /usr/share/man/*
path-exclude /usr/share/info/*
path-exclude /usr/share/locale/*
CFG
  chroot "$root" /debootstrap/debootstrap --second-stage >&2
  clean_root "$root"
}

recipe_busybox() { # ROOT
  local root=$1 work
  work=$(mktemp -d)
  (cd "$work" && apt-get download -qq busybox-static && dpkg-deb -x ./*.deb .)
  mkdir -p "$root"/{bin,dev,etc,home,proc,root,sys,tmp,usr/bin,usr/sbin,sbin,var/spool}
  chmod 1777 "$root/tmp"
  find "$work" -path '*bin/busybox' -type f -exec cp {} "$root/bin/busybox" \;
  chroot "$root" /bin/busybox --install -s
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
  rm -rf "$work"
}

recipe_python() { # ROOT
  install_into "$1" python3
  # Where the official image has it.
  ln -s /usr/bin/python3 "$1/usr/local/bin/python3"
  ln -s python3 "$1/usr/local/bin/python"
}

recipe_redis() { # ROOT
  install_into "$1" redis-server
  install -m 755 "$HERE/images/redis-entrypoint.sh" "$1/usr/local/bin/docker-entrypoint.sh"
  rm -rf "$1"/etc/redis/*
  chroot "$1" install -d -o redis -g redis /data
}

recipe_postgres() { # ROOT
  local root=$1 version
  # No cluster of the package's own.
  mkdir -p "$root/etc/postgresql-common"
  echo 'create_main_cluster = false' >"$root/etc/postgresql-common/createcluster.conf"
  install_into "$root" postgresql
  version=$(ls "$root/usr/lib/postgresql")
  # The compiler of queries, half of the size, which the server does without when its library is
  # missing; and what only the package's own scripts need.
  (cd "$root" && rm -rf usr/lib/*/libLLVM* usr/lib/*/libz3* usr/lib/postgresql/*/lib/{llvmjit*,bitcode} \
    usr/share/postgresql/*/man usr/lib/*/perl usr/share/{perl,perl5,i18n})
  # One path for every version, so that the image's PATH does not depend on the machine.
  ln -s "$version" "$root/usr/lib/postgresql/current"
  install -m 755 "$HERE/images/postgres-entrypoint.sh" "$root/usr/local/bin/docker-entrypoint.sh"
  mkdir -p "$root/docker-entrypoint-initdb.d"
  chroot "$root" install -d -m 700 -o postgres -g postgres /var/lib/postgresql/data
  echo "listen_addresses = '*'" >>"$root/usr/share/postgresql/$version/postgresql.conf.sample"
}

readonly SYSTEM_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# The `config` object of an image, as JSON.
settings() { # KIND
  case $1 in
    debian) echo '{"Env":["PATH='$SYSTEM_PATH'"],"Cmd":["bash"]}' ;;
    busybox) echo '{"Env":["PATH='$SYSTEM_PATH'"],"Cmd":["sh"]}' ;;
    python) echo '{"Env":["PATH='$SYSTEM_PATH'","LANG=C.UTF-8"],"Cmd":["python3"]}' ;;
    redis) echo '{"Env":["PATH='$SYSTEM_PATH'"],"Entrypoint":["docker-entrypoint.sh"],
      "Cmd":["redis-server"],"ExposedPorts":{"6379/tcp":{}},"Volumes":{"/data":{}},"WorkingDir":"/data"}' ;;
    # First in the path: the commands of the same names in /usr/bin are the package's Perl scripts.
    postgres) echo '{"Env":["PATH=/usr/lib/postgresql/current/bin:'$SYSTEM_PATH'","LANG=C.UTF-8",
      "PGDATA=/var/lib/postgresql/data"],"Entrypoint":["docker-entrypoint.sh"],"Cmd":["postgres"],
      "ExposedPorts":{"5432/tcp":{}},"Volumes":{"/var/lib/postgresql/data":{}},"StopSignal":"SIGINT"}' ;;
  esac
}

# The layers of an image, lowest first. The kind of an image is its name without the tag.
layers() { # KIND
  case $1 in
    debian | busybox) echo "$1" ;;
    *) echo "debian $1" ;;
  esac
}

# --- layers and images --------------------------------------------------------------------------

kind_of() { # IMAGE
  [[ " ${ALL[*]} " == *" $1 "* ]] || fail "no recipe for the image \`$1\`"
  echo "${1%%:*}"
}

# Where a layer is cached. The name holds a hash of its recipe and of the layers below it.
layer_directory() { # KIND
  local below=
  if [[ $(layers "$1") != "$1" ]]; then below=$(layer_directory debian); fi
  {
    declare -f "recipe_$1" install_into clean_root
    cat "$HERE/images/$1-entrypoint.sh" 2>/dev/null || true
    os_release VERSION_CODENAME
    architecture
    echo "${below##*/}"
  } | sha256sum | echo "$CACHE/layers/$1-$(head -c 16)"
}

build_layer() { # KIND
  local kind=$1 directory work old why
  directory=$(layer_directory "$kind")
  if [[ -e $directory/diff_id ]]; then return; fi
  why=$(obstacle)
  [[ -z $why ]] || fail "$why"
  echo "images: building the layer \`$kind\`" >&2
  prepare_apt
  mkdir -p "$CACHE/layers"
  for old in "$CACHE/layers/$kind"-*; do rm -rf --one-file-system "$old"; done
  work=$(mktemp -d "$CACHE/layers/.work.XXXXXX")
  # In a mount and process namespace of its own: no mount and no process outlives a failure.
  if ! unshare --mount --pid --fork --kill-child --propagation private -- \
    bash "$SELF" __layer "$kind" "$work" >"$CACHE/$kind.log" 2>&1; then
    rm -rf --one-file-system "$work"
    fail "building the layer \`$kind\` failed: $(tail -n 5 "$CACHE/$kind.log")"
  fi
  mv "$work" "$directory"
}

# Runs a recipe over the layer below and packs what it changed.
layer_main() { # KIND DIRECTORY
  local kind=$1 directory=$2 gone
  mkdir "$directory"/{tree,work,root}
  if [[ $(layers "$kind") == "$kind" ]]; then
    "recipe_$kind" "$directory/tree"
  else
    mount -t overlay overlay "$directory/root" -o \
      "lowerdir=$(layer_directory debian)/tree,upperdir=$directory/tree,workdir=$directory/work"
    "recipe_$kind" "$directory/root"
    umount "$directory/root"
    # What overlayfs marks as deleted, in the words of image layers.
    while read -r gone; do
      rm "$gone"
      touch "$(dirname "$gone")/.wh.$(basename "$gone")"
    done < <(find "$directory/tree" -type c -exec stat -c '%t:%T %n' {} + | sed -n 's/^0:0 //p')
  fi
  chmod 755 "$directory/tree"
  tar -C "$directory/tree" --sort=name --numeric-owner -cf "$directory/layer.tar" .
  rm -rf "$directory"/{work,root}
  if [[ $kind != debian ]]; then rm -rf "$directory/tree"; fi # Only `debian` has layers above it.
  sha256sum "$directory/layer.tar" | cut -d' ' -f1 >"$directory/diff_id"
}

build_image() { # IMAGE
  local kind layer
  kind=$(kind_of "$1")
  for layer in $(layers "$kind"); do build_layer "$layer"; done
}

image_config() { # KIND
  local layer ids=() joined
  for layer in $(layers "$1"); do ids+=("\"sha256:$(<"$(layer_directory "$layer")/diff_id")\""); done
  joined=$(IFS=,; echo "${ids[*]}")
  cat <<JSON
{"architecture":"$(architecture)","os":"linux","created":"2024-01-01T00:00:00Z",
 "config":$(settings "$1"),"rootfs":{"type":"layers","diff_ids":[$joined]}}
JSON
}

# Lays out an archive of several images in which a shared layer is there once.
stage_archive() { # DIRECTORY IMAGE…
  local directory=$1 image kind layer source id entries=() paths
  shift
  for image in "$@"; do
    kind=$(kind_of "$image")
    image_config "$kind" >"$directory/config"
    id=$(sha256sum "$directory/config" | cut -d' ' -f1)
    mv "$directory/config" "$directory/$id.json"
    paths=()
    for layer in $(layers "$kind"); do
      source=$(layer_directory "$layer")
      mkdir -p "$directory/$(<"$source/diff_id")"
      ln -sf "$source/layer.tar" "$directory/$(<"$source/diff_id")/layer.tar"
      paths+=("\"$(<"$source/diff_id")/layer.tar\"")
    done
    entries+=("{\"Config\":\"$id.json\",\"RepoTags\":[\"$image\"],\"Layers\":[$(IFS=,; echo "${paths[*]}")]}")
  done
  (IFS=,; echo "[${entries[*]}]") >"$directory/manifest.json"
}

cmd_build() {
  local image
  mkdir -p "$CACHE"
  exec 9>"$CACHE/lock"
  flock 9
  for image in "$@"; do build_image "$image"; done
  exec 9>&-
}

cmd_save() {
  local directory status=0
  cmd_build "$@"
  directory=$(mktemp -d "$CACHE/.archive.XXXXXX")
  stage_archive "$directory" "$@"
  tar -C "$directory" --dereference -cf - . || status=$?
  rm -rf "$directory"
  return "$status"
}

cmd_load() { # HOST IMAGE…
  local host=$1 image wanted present missing=()
  shift
  cmd_build "$@"
  for image in "$@"; do
    wanted=sha256:$(image_config "$(kind_of "$image")" | sha256sum | cut -d' ' -f1)
    present=$("$HERE/lab.sh" exec "$host" docker image inspect -f '{{.Id}}' "$image" 2>/dev/null) || true
    if [[ $present != "$wanted" ]]; then missing+=("$image"); fi
  done
  if ((${#missing[@]})); then
    cmd_save "${missing[@]}" | "$HERE/lab.sh" exec "$host" docker load --quiet >&2
  fi
}

cmd_size() {
  local image layer bytes
  for image in "$@"; do
    bytes=0
    for layer in $(layers "$(kind_of "$image")"); do
      ((bytes += $(stat -c %s "$(layer_directory "$layer")/layer.tar")))
    done
    echo "$image $((bytes / 1000000))"
  done
}

main() {
  local command=${1:-}
  shift || true
  if [[ $command == build || $command == size ]] && (($# == 0)); then set -- "${ALL[@]}"; fi
  case $command in
    build | save | size) (($# >= 1)) || usage; "cmd_$command" "$@" ;;
    check) cmd_check ;;
    load) (($# >= 2)) || usage; cmd_load "$@" ;;
    __layer) prepare_apt; layer_main "$@" ;;
    *) usage ;;
  esac
}

main "$@"
