"""Changes the values of a Compose file one at a time: each change has to show, in the objects or in the
report, or be of a key that the report or COMPATIBILITY.md explains. What shows nowhere is lost in silence."""

import collections
import fnmatch
import functools
import json
import pathlib
import re

PAGE = pathlib.Path(__file__).resolve().parents[2] / "COMPATIBILITY.md"
# The keys of each part of the page.
PARTS = {
    "Services": "services.*.",
    "`build` of a service": "services.*.build.",
    "`deploy` of a service": "services.*.deploy.",
    "Networks": "networks.*.",
    "Volumes": "volumes.*.",
    "Configs": "configs.*.",
    "Secrets": "secrets.*.",
    "Jobs, beside the keys of services": "jobs.*.",
}

# Values of one key that are like each other are tried this often in a file.
LIKE_MAX = 3
DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|ms|s|m|h))+")
# Words that only some others can take the place of.
WORDS = {
    # Kubernetes knows no hand that stops a container, so `unless-stopped` is `always`.
    "restart": ["no", "always"],
    "condition": ["service_healthy", "service_started", "service_completed_successfully"],
    "pull_policy": ["always", "missing"],
    "protocol": ["tcp", "udp"],
    "network_mode": ["host", "none"],
    "pid": ["host", "host"],
    "ipc": ["host", "private"],
    "order": ["start-first", "stop-first"],
    "failure_action": ["pause", "continue"],
    "mode": ["global", "replicated", "host", "ingress"],
    "propagation": ["rshared", "rslave"],
    "type": ["volume", "tmpfs"],
    "cap_add": ["NET_ADMIN", "SYS_TIME"],
    "cap_drop": ["KILL", "CHOWN"],
    "stop_signal": ["SIGINT", "SIGQUIT"],
    "action": ["rebuild", "restart"],
}


def leaves(value, path=()):
    """Every value with the way to it."""
    if isinstance(value, dict):
        for key, it in value.items():
            yield from leaves(it, (*path, key))
    elif isinstance(value, list):
        for index, it in enumerate(value):
            yield from leaves(it, (*path, index))
    elif value is not None:
        yield path, value


def other(path, value):
    """Another value; none where nothing else would do."""
    keys = [key for key in path if isinstance(key, str)]
    name = keys[-1]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value + 0.5
    if "restart_policy" in keys and name == "condition":
        return "any" if value == "none" else "none"
    if name in WORDS and "environment" not in keys and "labels" not in keys:
        words = WORDS[name]
        return next((word for word in (words[2:] if value in words[2:] else words) if word != value), None)
    if name == "test" and path[-1] == 0:
        return None
    if value.isdigit():
        return str(int(value) + 1)
    if DURATION.fullmatch(value):
        return "1" + value
    return value + "zq"


def replaced(value, path, new):
    """The same with one value changed."""
    if not path:
        return new
    head, *rest = path
    changed = value.copy()
    changed[head] = replaced(value[head], rest, new)
    return changed


def is_implied(config, path, value):
    """Whether it is what the loader says where a file says nothing."""
    if path == ("name",):
        return True
    if len(path) == 3 and path[2] == "name":
        return value == f"{config.get('name')}_{path[1]}"
    return path[-1] == "required" and value is True


@functools.cache
def explained():
    """Keys that are done without an object, with the page's reason."""
    prefix, found = "", []
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            prefix = PARTS.get(line[3:], "")
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) == 9 and cells[1].startswith("`") and cells[5] == "done" and cells[6]:
            found.append(prefix + cells[1].strip("`"))
    return found


def is_explained(keys):
    """Whether the page says of a key, or of one above it, that nothing comes of it."""
    above = [".".join(keys[:n]) for n in range(3, len(keys) + 1)]
    return any(fnmatch.fnmatch(path, key) for path in above for key in explained())


def pattern(path):
    """The key without the names that a file chooses."""
    keys = [key for key in path if isinstance(key, str)]
    keys[1:2] = ["*"]
    if len(keys) > 3 and keys[2] in ("environment", "labels", "annotations", "depends_on", "networks", "sysctls"):
        keys[3] = "*"
    return ".".join(keys)


def lost(config, folder, run, muster):
    """Keys of a project whose value shows nowhere; and how many were tried."""
    file = folder / "compose.yaml"

    def exported(project):
        file.write_text(json.dumps(project, indent=1))
        return run(muster, "-f", str(file), "export", "--to", "kubernetes", "--stdout", "--network-policies",
                   "--publish", "load-balancer")

    # The loader prints none of these; what refers to them goes with them.
    config = {**config, "services": {
        name: {key: it for key, it in service.items() if key != "models"}
        for name, service in config.get("services", {}).items()
    }}
    before = exported(config)
    if before[0] != 0:
        return [f"the resolved project is not exported: {before[2][:200]}"], 0
    file.write_text(json.dumps(config, indent=1))
    _, rows, _ = run(muster, "-f", str(file), "check", "--target", "kubernetes", "--json")
    said = {row["path"] for row in json.loads(rows)["keys"]}
    tried, found = collections.Counter(), []
    for path, value in leaves(config):
        if any(str(key).startswith("x-") for key in path) or is_implied(config, path, value):
            continue
        new, like = other(path, value), pattern(path)
        if new is None or tried[like] >= LIKE_MAX:
            continue
        keys = [key for key in path if isinstance(key, str)]
        if is_explained(keys) or any(".".join(keys[:n]) in said for n in range(3, len(keys) + 1)):
            continue
        tried[like] += 1
        after = exported(replaced(config, path, new))
        # What the loader refuses says nothing of the export.
        if after[0] == 0 and after[1:] == before[1:]:
            found.append(f"{'.'.join(keys)}: {value!r} or {new!r} is the same")
    return found, sum(tried.values())
