"""Values of a Compose file that are neither in the objects made of it nor in the report."""

import re


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


def values(config, objects, report):
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
