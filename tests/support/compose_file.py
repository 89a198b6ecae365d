"""What the services of docker-compose.yml are given, and whom they reach."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from support.deployment import compose, dockerfile, set_variables

__all__ = [
    "SERVICES",
    "environment",
    "found_by",
    "interpolated",
    "make_keys",
    "mounts",
    "script_of",
]

SERVICES: dict[str, Any] = compose()["services"]


def mounts(name: str) -> dict[str, tuple[str, bool]]:
    """By place in the container: what is mounted there, and whether it can be written."""
    split = [volume.split(":") for volume in SERVICES[name].get("volumes", [])]
    return {inside: (outside, mode != ["ro"]) for outside, inside, *mode in split}


def _names_of(name: str, network: str) -> set[str]:
    """What others on a network may call a service."""
    aliases = (SERVICES[name]["networks"][network] or {}).get("aliases", [])
    return {name, *aliases}


def found_by(asking: str, wanted: str, profile: str) -> list[str]:
    """The services that a name leads to, once for each network that both are on."""
    return [
        name
        for name, service in SERVICES.items()
        for network in SERVICES[asking]["networks"]
        if profile in service["profiles"] and network in service.get("networks", {})
        if wanted in _names_of(name, network)
    ]


def interpolated(value: str, environ: Mapping[str, str]) -> str:
    """What Compose makes of ``${NAME:-default}``; an empty variable is as good as none."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: environ.get(found[1]) or found[2], value)


def environment(name: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The FORCEGATE_* variables of a service that is built here, where ``environ`` is Compose's."""
    stage = dockerfile()[SERVICES[name]["build"]["target"]]
    given = SERVICES[name]["environment"]
    return set_variables(
        stage, {key: interpolated(value, environ or {}) for key, value in given.items()}
    )


def script_of(name: str) -> list[str]:
    """The command line of a service that is a script."""
    # A dollar sign is written twice for Compose.
    (script,) = SERVICES[name]["command"]
    return [*SERVICES[name]["entrypoint"], script.replace("$$", "$")]


def make_keys(folder: Path) -> None:
    """Do what the service ``keys`` does, each of its volumes a folder of its name in ``folder``."""
    places = {inside: folder / outside for inside, (outside, _) in mounts("keys").items()}
    for place in places.values():
        place.mkdir(exist_ok=True)
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for name, value in SERVICES["keys"]["environment"].items():
        file = Path(value)
        environment[name] = str(places[str(file.parent)] / file.name)
    subprocess.run(script_of("keys"), env=environment, check=True, timeout=120)
