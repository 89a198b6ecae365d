"""What the files say that gateways are deployed by, and what the code has to say to that."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from fastapi.routing import APIRoute

from forcegate_service.api.routes import admin, documents, health, models, page, predict
from forcegate_service.settings import Settings
from forcegate_service.watch.catalogue import catalogue

__all__ = [
    "ROOT",
    "Stage",
    "compose",
    "default_of",
    "dockerfile",
    "labels_of_metrics",
    "manifests",
    "metrics_named",
    "project",
    "routes",
    "seconds",
    "set_variables",
]

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage of the Dockerfile, with all that it inherits from the stage it is built on."""

    image: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """What stands behind each instruction of a name, in order."""
        return [rest for instruction, rest in self.instructions if instruction == name]

    def environment(self) -> dict[str, str]:
        """What ENV sets, as it is written."""
        pairs = [pair for rest in self.all("ENV") for pair in shlex.split(rest)]
        return dict(pair.split("=", 1) for pair in pairs)


@cache
def dockerfile() -> dict[str, Stage]:
    """The stages of the Dockerfile by name."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(str.strip, joined.splitlines()):
        name, rest = line.split(maxsplit=1)
        if name == "FROM":
            source, _, alias = rest.split()
            for argument, default in arguments.items():
                source = source.replace(f"${{{argument}}}", default)
            before = stages.get(source)
            stage = Stage(before.image, list(before.instructions)) if before else Stage(source)
            stages[alias] = stage
        elif stage is None:
            assert name == "ARG"
            argument, default = rest.split("=", 1)
            arguments[argument] = default
        else:
            stage.instructions.append((name, rest))
    return stages


@cache
def compose() -> dict[str, Any]:
    """docker-compose.yml as it is after its own references."""
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


@cache
def manifests(overlay: str) -> list[dict[str, Any]]:
    """What ``kubectl apply -k`` would send for an overlay."""
    kubectl = Path(sys.executable).with_name("kubectl")
    folder = ROOT / "deploy" / "kubernetes" / "overlays" / overlay
    done = subprocess.run(
        [kubectl, "kustomize", folder], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@cache
def project() -> dict[str, Any]:
    """The table ``project`` of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def default_of(setting: str) -> Any:
    """What a setting of the gateway is if nobody sets it."""
    return Settings.model_fields[setting].default


def seconds(text: str) -> int:
    """What ``70s`` stands for."""
    return int(text.removesuffix("s"))


@cache
def routes() -> frozenset[str]:
    """The paths that the gateway answers, with ``{names}`` in them."""
    routers = (handler.router for handler in (admin, documents, health, models, page, predict))
    return frozenset(
        route.path for router in routers for route in router.routes if isinstance(route, APIRoute)
    )


@cache
def labels_of_metrics() -> Mapping[str, frozenset[str]]:
    """The gateway's metrics by the name of their samples, with the labels of each."""
    return {sample: frozenset(metric.labels) for metric in catalogue() for sample in metric.samples}


def metrics_named(query: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each ``forcegate_*`` metric in a PromQL expression, and the labels it is selected by."""
    for name, selectors in re.findall(r"\b(forcegate_\w+)(?:\{([^}]*)\})?", query):
        yield name, dict(re.findall(r'(\w+)="([^"]*)"', selectors))


def set_variables(image: Stage, given: Mapping[str, str]) -> dict[str, str]:
    """The FORCEGATE_* variables of a container: what its image sets, and what it is given.

    Raises:
        AssertionError: if one of them is no setting of the gateway.
    """
    both = image.environment() | dict(given)
    chosen = {name: value for name, value in both.items() if name.startswith("FORCEGATE_")}
    for name in chosen:
        assert name.removeprefix("FORCEGATE_").lower() in Settings.model_fields, name
    return chosen
