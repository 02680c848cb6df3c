"""Exports every Compose file of a corpus in all three forms and has others judge the result: the
published schemas, helm, kubectl, and muster's own validator. The three forms have to be the same
objects, and no value of a file may be missing in both the objects and the report.

usage: check.py MUSTER TOOLS FILES...     (from `make export-check`)
"""

import base64
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

try:
    import yaml
except ImportError:
    yaml = None
try:
    import kubernetes_validate
except ImportError:
    kubernetes_validate = None

# The oldest version that still gets fixes, and the newest.
VERSIONS = ["1.35", "1.37"]
FORMS = ["kubernetes", "kustomize", "helm"]
TIMEOUT_S = 120


def run(*words, cwd=None):
    """Runs a program; its code, output and errors."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(WORK), "NO_COLOR": "1"}
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, timeout=TIMEOUT_S)
    text = lambda raw: raw.decode("utf-8", "replace")
    return done.returncode, text(done.stdout), text(done.stderr)


def documents(text):
    return [it for it in yaml.load_all(text, LOADER) if it]


class Strict(yaml.CSafeLoader if yaml and hasattr(yaml, "CSafeLoader") else yaml.SafeLoader if yaml else object):
    """YAML as Kubernetes reads it; dates are text there."""


if yaml:
    Strict.yaml_implicit_resolvers = {
        key: [it for it in all if it[0] != "tag:yaml.org,2002:timestamp"]
        for key, all in Strict.yaml_implicit_resolvers.items()
    }
LOADER = Strict


def read(folder):
    """All objects in a folder of plain manifests."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        found += documents(path.read_text())
    return found


HASHED = re.compile(r"-[0-9a-z]{10}$")


def normal(objects, project):
    """The objects without what the forms are meant to differ in."""
    names = {}
    for it in objects:
        if it["kind"] == "ConfigMap":
            name = it["metadata"]["name"]
            names[name] = HASHED.sub("", name) if it.get("immutable") else name

    def clean(value, key=""):
        if isinstance(value, dict):
            value = {k: clean(v, k) for k, v in value.items() if v is not None}
            labels = ("helm.sh/chart", "app.kubernetes.io/managed-by")
            value = {
                k: v for k, v in value.items()
                if k not in labels and not k.startswith("checksum/") and k != "helm.sh/resource-policy"
            }
            if "name" in value and value["name"] in names and ("data" not in value):
                value["name"] = names[value["name"]]
            return {k: v for k, v in value.items() if not (k in ("annotations", "labels") and not v)}
        if isinstance(value, list):
            value = [clean(it) for it in value]
            return sorted(value, key=lambda it: it["name"]) if key == "env" else value
        return value

    result = {}
    for it in objects:
        it = clean(it)
        kind, name = it["kind"], it["metadata"]["name"]
        it["metadata"]["name"] = name = names.get(name, name) if kind == "ConfigMap" else name
        it.get("metadata", {}).pop("namespace", None)
        it.pop("immutable", None)
        if kind == "Secret":
            data = {k: base64.b64decode(v).decode("latin1") for k, v in it.pop("data", {}).items()}
            data |= {k: v.encode().decode("latin1") for k, v in it.pop("stringData", {}).items()}
            it["data"] = data
        if kind == "Service" and it["spec"].get("type") == "ClusterIP":
            del it["spec"]["type"]
        if kind == "CronJob":
            it["spec"].setdefault("suspend", False)
        if kind in ("Deployment", "StatefulSet"):
            it["spec"].setdefault("replicas", 1)
        result[f"{kind}/{name}"] = it
    return result


def differences(a, b, path=""):
    if type(a) is not type(b):
        yield f"{path}: {str(a)[:80]!r} and {str(b)[:80]!r}"
    elif isinstance(a, dict):
        for key in sorted(a.keys() | b.keys(), key=str):
            if key not in a or key not in b:
                yield f"{path}/{key}: only in the {'second' if key in b else 'first'}"
            else:
                yield from differences(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, list):
        if len(a) != len(b):
            yield f"{path}: {len(a)} and {len(b)} items"
        for index, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{path}/{index}")
    elif a != b:
        yield f"{path}: {str(a)[:80]!r} and {str(b)[:80]!r}"


def texts(value):
    """Every text in a value."""
    if isinstance(value, dict):
        for key, it in value.items():
            yield str(key)
            yield from texts(it)
    elif isinstance(value, list):
        for it in value:
            yield from texts(it)
    elif value is not None:
        yield str(value)


def leaves(value, path):
    if isinstance(value, dict):
        for key, it in value.items():
            if not key.startswith("x-"):
                yield from leaves(it, f"{path}.{key}")
    elif isinstance(value, list):
        for it in value:
            yield from leaves(it, path)
    elif isinstance(value, str) and len(value) >= 4 and value != "CMD-SHELL":
        yield path, value


# Values that become something else by a rule that unit tests hold: amounts, times, modes, words.
BECOME = re.compile(
    r"\.(restart|network_mode|pid|ipc|pull_policy|mode|condition|memory|mem_limit|mem_reservation|"
    r"shm_size|size|interval|timeout|start_period|start_interval|stop_grace_period|delay|monitor|"
    r"order|type|published|protocol|platform|constraints|spread|extra_hosts|expose|cap_add|cap_drop|"
    r"security_opt|user|cpus|endpoint_mode|driver|concurrency|missed_fires|capabilities|tmpfs|"
    r"volumes_from|links|env_file|profiles|hostname|build|name|file|environment|source|depends_on|"
    r"group_add|propagation|dns_opt|stop_signal|o|device|network|runtime)$"
)
ENVIRONMENT = re.compile(r"\.environment\.[^.]+$")


def lost(config, objects, report):
    """Values of the file that are neither in the objects nor in the report."""
    said = {row["path"] for row in report}
    reasons = "\n".join(row["reason"] for row in report)
    shown = "\n".join(texts(objects)) + "\n" + reasons
    shown += "\n" + shown.replace("$$", "$")
    for path, value in leaves(config.get("services", {}), "services"):
        parts = path.split(".")
        above = {".".join(parts[:n]) for n in range(2, len(parts) + 1)}
        if value in shown or value.replace("$$", "$") in shown or above & said:
            continue
        if BECOME.search(path) and not ENVIRONMENT.search(path):
            continue
        if all(word in shown for word in value.split()):
            continue
        yield f"{path}: {value[:80]!r}"


def check(name, file):
    """Counts and failures of one file."""
    failures = []
    out = WORK / "out"
    shutil.rmtree(out, ignore_errors=True)
    code, config, _ = run(MUSTER, "-f", file, "config", "--format", "json")
    if code != 0:
        return "refused", []
    config = json.loads(config)
    if not config.get("services") and not config.get("jobs"):
        return "without a service that runs", []
    rendered, report = {}, []
    for form in FORMS:
        words = (MUSTER, "-f", file, "export", "--to", form, "-o", str(out / form), "--json")
        code, answer, error = run(*words)
        if code != 0:
            failures.append(f"{form}: {error.strip()[:400]}")
            continue
        report = json.loads(answer)["keys"]
    if failures:
        return "failed", failures
    again = WORK / "again"
    shutil.rmtree(again, ignore_errors=True)
    for form in FORMS:
        run(MUSTER, "-f", file, "export", "--to", form, "-o", str(again / form))
        code, text, _ = run("diff", "-r", str(out / form), str(again / form))
        if code != 0:
            failures.append(f"{form}: a second export differs: {text[:200]}")
    code, _, error = run(MUSTER, "export", "--validate", str(out / "kubernetes"))
    if code != 0:
        failures += [f"validate: {line}" for line in error.strip().splitlines()[:20]]
    if yaml is None:
        return "exported", failures
    rendered["kubernetes"] = read(out / "kubernetes")
    if KUBECTL:
        for folder in sorted((out / "kustomize").glob("*/")) + sorted((out / "kustomize/overlays").glob("*/")):
            if not (folder / "kustomization.yaml").exists():
                continue
            code, text, error = run(KUBECTL, "kustomize", str(folder))
            if code != 0:
                failures.append(f"kustomize: {folder.name}: {error.strip()[:300]}")
            elif folder.name == "base":
                rendered["kustomize"] = documents(text)
            else:
                failures += schemas(documents(text), f"overlay {folder.name}")
    if HELM:
        project = rendered["kubernetes"][0]["metadata"].get("labels", {}) if rendered["kubernetes"] else {}
        release = project.get("app.kubernetes.io/instance", "x")
        secrets = out / "helm/secrets/values.yaml"
        more = ["-f", str(secrets)] if secrets.exists() else []
        code, text, error = run(HELM, "lint", "--strict", str(out / "helm"), *more)
        if code != 0:
            failures.append(f"helm lint: {(text + error).strip()[:400]}")
        # Without the secrets as well, as somebody would do who has just cloned the chart.
        for values in ([], more):
            code, text, error = run(HELM, "template", release, str(out / "helm"), "--skip-tests", *values)
            if code != 0:
                failures.append(f"helm template: {error.strip()[:300]}")
        if code == 0:
            rendered["helm"] = documents(text)
    for form, objects in rendered.items():
        failures += schemas(objects, form)
    first = normal(rendered["kubernetes"], name)
    compared = "exported"
    for form in ("kustomize", "helm"):
        if form in rendered and not overridden(out, form):
            found = list(differences(first, normal(rendered[form], name)))
            failures += [f"{form} is not the same: {it}" for it in found[:6]]
    failures += [f"lost: {it}" for it in lost(config, rendered["kubernetes"], report)]
    return compared, failures


def overridden(out, form):
    """Whether a base is less than the project, which then is an overlay."""
    overlays = out / "kustomize/overlays"
    names = [it.name for it in overlays.glob("*/")] if overlays.exists() else []
    return form == "kustomize" and "override" in names


def schemas(objects, form):
    if kubernetes_validate is None:
        return []
    failures = []
    for it in objects:
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(it, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                where = f"{it.get('kind')}/{it.get('metadata', {}).get('name')}"
                path = "/".join(str(part) for part in error.path)
                failures.append(f"{form}: schema {version}: {where} {path}: {error.message[:200]}")
    return failures


def main():
    counts = collections.Counter()
    kinds = collections.Counter()
    for file in FILES:
        try:
            outcome, failures = check(pathlib.Path(file).parent.name, file)
        except Exception as error:  # A broken check is a failure, not the end of the others.
            outcome, failures = "failed", [f"check: {type(error).__name__}: {error}"]
        counts[outcome] += 1
        if failures:
            counts["with failures"] += 1
            print(file)
            for failure in failures:
                kinds[failure.split(":")[0]] += 1
                print(f"  {failure}")
            sys.stdout.flush()
    for what, tool in [
        ("the published schemas", kubernetes_validate), ("helm", HELM), ("kubectl kustomize", KUBECTL)
    ]:
        if not tool:
            print(f"export-check: NOT CHECKED: {what} could not be had")
    accepted = len(FILES) - counts["refused"] - counts["without a service that runs"]
    print(f"export-check: {len(FILES)} files, {accepted} accepted, {accepted - counts['with failures']} of these "
          f"valid and the same in {len(FORMS)} forms")
    for kind, count in kinds.most_common():
        print(f"  {count} x {kind}")
    passed = accepted - counts["with failures"]
    print(f"{passed} passed, {counts['with failures']} failed")
    return 1 if counts["with failures"] or not accepted else 0


if __name__ == "__main__":
    MUSTER, TOOLS, *FILES = sys.argv[1:]
    tool = lambda name: str(pathlib.Path(TOOLS, "bin", name)) if TOOLS and pathlib.Path(TOOLS, "bin", name).exists() else None
    HELM, KUBECTL = tool("helm"), tool("kubectl")
    with tempfile.TemporaryDirectory() as folder:
        WORK = pathlib.Path(folder)
        sys.exit(main())
