#!/usr/bin/env bash
# Exports the examples of the repository, and the Compose files of a corpus (a folder with files.tsv:
# repository, path), and has others judge the objects: check.py.
set -eu

HERE=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
REPOSITORY=$(realpath "$HERE/../..")
corpus=${1:-}
muster=${MUSTER:-$REPOSITORY/target/debug/muster}

files=("$REPOSITORY"/compose-examples/*/compose.yaml)
if [[ -n $corpus ]]; then
  while IFS=$'\t' read -r repository path _; do
    files+=("$corpus/${repository/\//+}/$path")
  done < <(tail -n +2 "$corpus/files.tsv")
fi
tools=$("$HERE/tools.sh")
python=$tools/venv/bin/python
[[ -n $tools && -x $python ]] || python=python3
exec "$python" -B "$HERE/check.py" "$muster" "$tools" "${files[@]}"
