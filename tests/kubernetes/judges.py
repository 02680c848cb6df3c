"""Those who judge exported objects: the published schemas, helm, kubectl. Each may be missing."""

import functools
import json
import pathlib
import re

try:
    import yaml
except ImportError:
    yaml = None
try:
    import jsonschema
    import kubernetes_validate
    import referencing
except ImportError:
    kubernetes_validate = None

# The oldest version that still gets fixes, and the newest.
VERSIONS = ["1.35", "1.37"]
# APIs that are added to a cluster; the schemas do not have them.
ADDED = ("gateway.networking.k8s.io/", "autoscaling.k8s.io/")


def loader():
    """YAML as Kubernetes reads it; dates are text there."""
    if yaml is None:
        return None

    class Strict(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        pass

    Strict.yaml_implicit_resolvers = {
        key: [it for it in all if it[0] != "tag:yaml.org,2002:timestamp"]
        for key, all in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return Strict


LOADER = loader()


def documents(text):
    """All objects in a stream."""
    return [it for it in yaml.load_all(text, LOADER) if it]


def read(folder):
    """All objects in a folder of plain manifests."""
    found = []
    for path in sorted(folder.rglob("*.yaml")):
        found += documents(path.read_text())
    return found


@functools.cache
def folder_of(version):
    """The schemas of a version; its definitions are megabytes, so they are read once."""
    folder = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    [folder] = [it for it in folder.iterdir() if re.fullmatch(rf"v{re.escape(version)}\.\d+-local-strict", it.name)]
    definitions = referencing.Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    return folder, (definitions @ referencing.Registry()).crawl()


@functools.cache
def validator(version, kind, api_version):
    """What judges one kind of object; none when the version does not know it."""
    folder, registry = folder_of(version)
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    path = folder / f"{kind.lower()}-{group}.json"
    if not path.exists():
        return None
    return jsonschema.validators.Draft202012Validator(json.loads(path.read_text()), registry=registry)


@functools.lru_cache(maxsize=4096)
def complaint(version, text):
    """What a schema says of an object; the forms have most objects in common."""
    it = json.loads(text)
    name = f"{it.get('kind')}/{it.get('metadata', {}).get('name')}"
    judge = validator(version, str(it.get("kind")), str(it.get("apiVersion")))
    if judge is None and str(it.get("apiVersion")).startswith(ADDED):
        return None
    if judge is None:
        return f"schema {version}: {name}: there is no such kind"
    error = jsonschema.exceptions.best_match(judge.iter_errors(it))
    if error is None:
        return None
    path = "/".join(str(part) for part in error.absolute_path)
    return f"schema {version}: {name} {path}: {error.message[:200]}"


def schemas(objects, form):
    """What the schemas of all versions say."""
    if kubernetes_validate is None:
        return []
    found = [complaint(version, json.dumps(it)) for it in objects for version in VERSIONS]
    return [f"{form}: {words}" for words in found if words]
