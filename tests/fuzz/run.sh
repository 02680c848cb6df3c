#!/usr/bin/env bash
# Fuzzes one target for some seconds: run.sh TARGET SECONDS. Begins with the golden cases and with what
# was found before. What it learns and finds is under
# target/fuzz; a finding that is mended moves to tests/fuzz/found/TARGET.
set -euo pipefail

HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
REPOSITORY=$(realpath "$HERE/../..")
TARGET=${1:-load}
SECONDS_MAX=${2:-60}

missing() {
  echo "fuzz: $1 is missing; get it with: $2" >&2
  exit 1
}

[[ -f $HERE/targets/$TARGET.rs ]] || {
  echo "fuzz: no target \`$TARGET\`; there are: $(cd "$HERE/targets" && echo *.rs | sed 's/\.rs//g')" >&2
  exit 2
}
command -v cargo-fuzz >/dev/null || missing cargo-fuzz 'cargo install cargo-fuzz --locked'
cargo +nightly --version >/dev/null 2>&1 ||
  missing 'a nightly compiler' 'rustup toolchain install nightly --profile minimal'

# The versions that everything else is built with.
[[ -f $HERE/Cargo.lock ]] || cp "$REPOSITORY/Cargo.lock" "$HERE/Cargo.lock"
WORK=$REPOSITORY/target/fuzz
mkdir -p "$WORK/corpus/$TARGET" "$WORK/artifacts/$TARGET"
cd "$REPOSITORY"
exec cargo +nightly fuzz run --fuzz-dir tests/fuzz --target-dir "$WORK" "$TARGET" \
  "$WORK/corpus/$TARGET" "$HERE/found/$TARGET" tests/golden/cases -- \
  -max_total_time="$SECONDS_MAX" -rss_limit_mb=1500 -max_len="${MAX_LEN:-8192}" -timeout=10 \
  -artifact_prefix="$WORK/artifacts/$TARGET/" -print_final_stats=1
