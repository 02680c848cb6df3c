#!/usr/bin/env bash
# Installs what building and testing muster need and this machine lacks, from the distribution's own
# packages. Prints each package before it is installed; says so in one line when nothing is missing.
# Never starts a service: the lab runs Docker Engines of its own, away from the machine's.
set -euo pipefail

# Command and the package that brings it on Debian and Ubuntu, in the order of installation.
readonly NEEDS=(
  cc:gcc make:make curl:curl
  ip:iproute2 iptables:iptables nft:nftables
  unshare:util-linux nsenter:util-linux setsid:util-linux flock:util-linux
  dockerd:docker.io containerd:containerd runc:runc docker:docker.io
  debootstrap:debootstrap
)
readonly POLICY=/usr/sbin/policy-rc.d

usage() {
  cat >&2 <<'USAGE'
usage: setup.sh [--check]
  (nothing)   install what is missing
  --check     only say what is missing; exit 1 when something is
USAGE
  exit 2
}

fail() {
  echo "setup: $*" >&2
  exit 1
}

# Tools of the system may lie outside the path of a plain shell.
PATH=$PATH:/usr/sbin:/sbin

is_there() { command -v "$1" >/dev/null; }

# The keys with which `debootstrap` checks the distribution's packages; rarely missing.
keyring_package() {
  local id
  id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}")
  case $id in
    debian) [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || echo debian-archive-keyring ;;
    ubuntu) [[ -e /usr/share/keyrings/ubuntu-archive-keyring.gpg ]] || echo ubuntu-keyring ;;
  esac
}

# One package a line, each once.
missing_packages() {
  local need
  {
    for need in "${NEEDS[@]}"; do
      if ! is_there "${need%%:*}"; then echo "${need#*:}"; fi
    done
    keyring_package
  } | awk '!seen[$0]++'
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]; }

# Newer releases have Docker's command line in a package of its own.
package_for() { # PACKAGE
  if [[ $1 == docker.io ]] && is_installed docker.io; then echo docker-cli; else echo "$1"; fi
}

refresh_lists() {
  # Lists older than a day may name packages that the mirror no longer has.
  if [[ -n $(find /var/lib/apt/lists -name '*Packages*' -mmin -1440 2>/dev/null | head -n 1) ]]; then return; fi
  echo "setup: reading the package lists (apt-get update)"
  apt-get update -qq || fail "\`apt-get update\` failed"
}

install_package() { # PACKAGE
  local package
  package=$(package_for "$1")
  if is_installed "$package"; then return; fi # Another one brought it.
  echo "setup: installing $package (apt-get install --no-install-recommends $package)"
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o Dpkg::Use-Pty=false -o DPkg::Lock::Timeout=120 "$package" >"$LOG" 2>&1 </dev/null ||
    fail "\`apt-get install $package\` failed: $(tail -n 5 "$LOG")"
}

# While packages are installed, nothing they bring is started: a dockerd of the machine would add a
# bridge and firewall rules to it, which nobody asked for.
hold_services() {
  LOG=$(mktemp)
  trap 'rm -f "$LOG"; [[ -z ${HELD:-} ]] || rm -f "$POLICY"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  if [[ ! -e $POLICY ]]; then
    HELD=1
    printf '#!/bin/sh\nexit 101\n' >"$POLICY"
    chmod +x "$POLICY"
  fi
}

check_rust() {
  is_there cargo || fail "no \`cargo\` in the path; install Rust first: https://rustup.rs"
}

main() {
  local packages package
  [[ ${1:-} == '' || ${1:-} == --check ]] || usage
  check_rust
  [[ $(uname -s) == Linux ]] || fail "the lab needs Linux; \`make check\` runs everything else"
  packages=$(missing_packages)
  if [[ -z $packages ]]; then
    echo "setup: everything is there, nothing to install"
    return
  fi
  if [[ ${1:-} == --check ]]; then
    fail "missing packages: ${packages//$'\n'/ }"
  fi
  is_there apt-get || fail "install these yourself (there is no apt here): ${packages//$'\n'/ }"
  ((EUID == 0)) || fail "installing needs root, missing are: ${packages//$'\n'/ }"
  hold_services
  refresh_lists
  for package in $packages; do install_package "$package"; done
  packages=$(missing_packages)
  for package in $packages; do install_package "$package"; done # `docker-cli`, where it is apart.
  packages=$(missing_packages)
  [[ -z $packages ]] || fail "installed, yet still missing: ${packages//$'\n'/ }"
  echo "setup: done"
}

main "$@"
