"""Whether two lists of objects are the same, but for what the forms of an export are meant to differ in."""

import base64
import re

HASHED = re.compile(r"-[0-9a-z]{10}$")


def normal(objects):
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
        # Helm is told which one.
        if kind == "Namespace":
            continue
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
