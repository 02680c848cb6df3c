"""Exports every Compose file of a corpus in all three forms and has others judge the result: the
published schemas, helm, kubectl, and muster's own validator. The three forms have to be the same
objects, and no value of a file may be missing in both the objects and the report.

usage: check.py MUSTER TOOLS FILES...     (from `make export-check`; JOBS=files at a time)
"""

import collections
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import judges
import lost
import marks
import same

FORMS = ["kubernetes", "kustomize", "helm"]
TIMEOUT_S = 120
INSTANCE = "app.kubernetes.io/instance"
# What few ask for, asked of all files.
OPTIONS = [
    ["--namespace", "shop", "--publish", "load-balancer", "--secrets", "sealed-stub", "--network-policies",
     "--storage-class", "fast", "--image-prefix", "registry.example.org/shop"],
    ["--gateway", "infra/public", "--vpa", "in-place", "--secrets", "omit", "--publish", "node-port"],
]


@dataclasses.dataclass
class Outcome:
    """What came of one file."""

    kind: str
    failures: list = dataclasses.field(default_factory=list)
    exported: bool = False
    lost: list = dataclasses.field(default_factory=list)
    changed: int = 0
    objects: int = 0


def run(*words):
    """Runs a program; its code, output and errors."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(WORK), "NO_COLOR": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, timeout=TIMEOUT_S)
    text = lambda raw: raw.decode("utf-8", "replace")
    return done.returncode, text(done.stdout), text(done.stderr)


def exported(file, out, failures):
    """Exports a file in all forms; the rows of its report."""
    report = []
    for form in FORMS:
        words = (MUSTER, "-f", file, "export", "--to", form, "-o", str(out / form), "--json")
        code, answer, error = run(*words)
        if code != 0:
            failures.append(f"{form}: {error.strip()[:400]}")
            continue
        report = json.loads(answer)["keys"]
    return report


def repeated(file, out, again, failures):
    """A second export has to be the same bytes."""
    for form in FORMS:
        run(MUSTER, "-f", file, "export", "--to", form, "-o", str(again / form))
        code, text, _ = run("diff", "-r", str(out / form), str(again / form))
        if code != 0:
            failures.append(f"{form}: a second export differs: {text[:200]}")


def validated(folder, failures):
    """Judges plain manifests by muster's own validator."""
    code, _, error = run(MUSTER, "export", "--validate", str(folder))
    if code != 0:
        failures += [f"validate: {line}" for line in error.strip().splitlines()[:20]]


def varied(file, options, out):
    """What is wrong with an export with options."""
    failures = []
    for form in ("kubernetes", "helm"):
        code, _, error = run(MUSTER, "-f", file, "export", "--to", form, "-o", str(out / form), *options)
        if code != 0:
            return [f"with {options[0]}: {form}: {error.strip()[:400]}"]
    validated(out / "kubernetes", failures)
    if judges.yaml:
        objects = judges.read(out / "kubernetes")
        failures += judges.schemas(objects, "kubernetes")
        chart = of_helm(out, objects, failures) if HELM else None
        if chart is not None:
            found = same.differences(same.normal(objects), same.normal(chart))
            failures += [f"helm is not the same: {it}" for it in list(found)[:6]]
    return [f"with {options[0]}: {failure}" for failure in failures]


def of_kustomize(out, failures):
    """The base as kubectl makes it; overlays are judged on the way."""
    base = None
    folders = [out / "kustomize/base", *sorted((out / "kustomize/overlays").glob("*/"))]
    for folder in folders:
        code, text, error = run(KUBECTL, "kustomize", str(folder))
        if code != 0:
            failures.append(f"kustomize: {folder.name}: {error.strip()[:300]}")
        elif folder.name == "base":
            base = judges.documents(text)
        else:
            failures += judges.schemas(judges.documents(text), f"overlay {folder.name}")
    return base


def of_helm(out, objects, failures):
    """The chart as helm makes it, with its secrets; without them it has to be something as well."""
    labels = (it["metadata"].get("labels", {}) for it in objects)
    release = next((it[INSTANCE] for it in labels if INSTANCE in it), "x")
    secrets = out / "helm/secrets/values.yaml"
    more = ["-f", str(secrets)] if secrets.exists() else []
    code, text, error = run(HELM, "lint", "--strict", str(out / "helm"), *more)
    if code != 0:
        failures.append(f"helm lint: {(text + error).strip()[:400]}")
    found = None
    for values in ([], more) if more else ([],):
        code, text, error = run(HELM, "template", release, str(out / "helm"), "--skip-tests", *values)
        if code != 0:
            failures.append(f"helm template: {error.strip()[:300]}")
            return None
        found = judges.documents(text)
    return found


def is_overridden(out):
    """Whether the base is less than the project, which then is an overlay."""
    overlays = out / "kustomize/overlays"
    return overlays.exists() and "override" in [it.name for it in overlays.glob("*/")]


def check(file):
    """What comes of one file."""
    failures = []
    shutil.rmtree(WORK / "work", ignore_errors=True)
    out, again = WORK / "work/out", WORK / "work/again"
    code, config, _ = run(MUSTER, "-f", file, "config", "--format", "json")
    if code != 0:
        return Outcome("refused")
    config = json.loads(config)
    if not config.get("services") and not config.get("jobs"):
        return Outcome("without a service that runs")
    report = exported(file, out, failures)
    if failures:
        return Outcome("accepted", failures)
    repeated(file, out, again, failures)
    if KUBECTL:
        # It reads the folder as `apply -R -f` does, and asks no cluster.
        words = ("label", "--local", "-R", "-f", str(out / "kubernetes"), "a=b", "-o", "name")
        code, _, error = run(KUBECTL, *words)
        if code != 0:
            failures.append(f"kubectl: {error.strip()[:300]}")
    validated(out / "kubernetes", failures)
    for number, options in enumerate(OPTIONS):
        failures += varied(file, options, WORK / f"work/options-{number}")
    if judges.yaml is None:
        return Outcome("accepted", failures, exported=True)
    rendered = {"kubernetes": judges.read(out / "kubernetes")}
    if KUBECTL:
        rendered["kustomize"] = of_kustomize(out, failures)
    if HELM:
        rendered["helm"] = of_helm(out, rendered["kubernetes"], failures)
    rendered = {form: objects for form, objects in rendered.items() if objects is not None}
    for form, objects in rendered.items():
        failures += judges.schemas(objects, form)
    first = same.normal(rendered["kubernetes"])
    for form in ("kustomize", "helm"):
        if form in rendered and not (form == "kustomize" and is_overridden(out)):
            found = list(same.differences(first, same.normal(rendered[form])))
            failures += [f"{form} is not the same: {it}" for it in found[:6]]
    keys = list(lost.values(config, rendered["kubernetes"], report))
    (WORK / "work/marks").mkdir()
    silent, changed = marks.lost(config, WORK / "work/marks", run, MUSTER)
    objects = sum(len(objects) for objects in rendered.values())
    return Outcome("accepted", failures, exported=True, lost=keys + silent, changed=changed, objects=objects)


def start(muster, tools, work):
    """What a process knows from the start."""
    global MUSTER, HELM, KUBECTL, WORK
    tool = lambda name: str(pathlib.Path(tools, "bin", name)) if tools and pathlib.Path(tools, "bin", name).exists() else None
    MUSTER, HELM, KUBECTL = muster, tool("helm"), tool("kubectl")
    WORK = pathlib.Path(tempfile.mkdtemp(dir=work))


def outcome(file):
    """A check that breaks is a failure, not the end of the others."""
    try:
        return check(file)
    except Exception as error:
        return Outcome("accepted", [f"check: {type(error).__name__}: {error}"])


def summary(outcomes):
    """Prints the counts; whether all is well."""
    for what, tool in [
        ("the published schemas", judges.kubernetes_validate), ("helm", HELM), ("kubectl kustomize", KUBECTL)
    ]:
        if not tool:
            print(f"export-check: NOT CHECKED: {what} could not be had")
    kinds = collections.Counter(it.kind for it in outcomes)
    accepted = [it for it in outcomes if it.kind == "accepted"]
    exported = sum(it.exported for it in accepted)
    valid = sum(it.exported and not it.failures for it in accepted)
    keys = sum(len(it.lost) for it in accepted)
    print(f"{len(outcomes)} files: {kinds['refused']} refused, {kinds['without a service that runs']} without a "
          f"service that runs, {len(accepted)} accepted")
    print(f"{exported} of {len(accepted)} exported in {len(FORMS)} forms, {sum(it.objects for it in accepted)} objects")
    print(f"{valid} of {len(accepted)} valid for all judges, and the same in all forms")
    print(f"{sum(it.changed for it in accepted)} values changed one at a time, {keys} keys lost without a line in the "
          "report")
    for kind, count in collections.Counter(
        failure.split(":")[0] for it in accepted for failure in it.failures
    ).most_common():
        print(f"  {count} x {kind}")
    return bool(accepted) and valid == len(accepted) and keys == 0


def main(muster, tools, files):
    with tempfile.TemporaryDirectory() as work:
        start(muster, tools, work)
        jobs = int(os.environ.get("JOBS") or min(2, os.cpu_count() or 1))
        outcomes = []
        with concurrent.futures.ProcessPoolExecutor(jobs, initializer=start, initargs=(muster, tools, work)) as pool:
            for file, it in zip(files, pool.map(outcome, files)):
                outcomes.append(it)
                for failure in it.failures + [f"lost: {key}" for key in it.lost]:
                    print(f"{file}: {failure}", flush=True)
                if len(outcomes) % 50 == 0:
                    print(f"export-check: {len(outcomes)} of {len(files)} files", file=sys.stderr, flush=True)
        return 0 if summary(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
