"""What the manifests of an overlay consist of, found by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from support.deployment import Stage, dockerfile, manifests, set_variables

__all__ = [
    "container",
    "containers",
    "environment",
    "image_of",
    "named",
    "of_kind",
    "options",
    "pod",
    "ports",
    "said",
    "selected",
    "way",
]


def way(overlay: str) -> str:
    """How the gateways of an overlay evaluate models, ``cpu`` or ``gpu``, with a teacher or not."""
    return overlay.removesuffix("-shadow")


def of_kind(overlay: str, kind: str) -> dict[str, dict[str, Any]]:
    """The manifests of a kind by name."""
    return {
        manifest["metadata"]["name"]: manifest
        for manifest in manifests(overlay)
        if manifest["kind"] == kind
    }


def pod(overlay: str, name: str) -> dict[str, Any]:
    """What a deployment's pods are made of."""
    return of_kind(overlay, "Deployment")[name]["spec"]["template"]["spec"]


def container(overlay: str, name: str) -> dict[str, Any]:
    """The server of a deployment, which is named like it."""
    return named(pod(overlay, name)["containers"], name)


def named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """The one of a list's entries that has this name."""
    (found,) = (entry for entry in entries if entry["name"] == name)
    return found


def containers(overlay: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every container, those that only run at first too, by its deployment."""
    for name in of_kind(overlay, "Deployment"):
        for found in (
            pod(overlay, name).get("initContainers", []) + pod(overlay, name)["containers"]
        ):
            yield name, found


def ports(overlay: str, name: str) -> dict[str, int]:
    """Where a server listens, by the names of its ports."""
    return {port["name"]: port["containerPort"] for port in container(overlay, name)["ports"]}


def said(overlay: str, name: str) -> dict[str, str]:
    """The variables that a manifest gives to a server."""
    return {entry["name"]: entry["value"] for entry in container(overlay, name)["env"]}


def image_of(overlay: str) -> Stage:
    """The Dockerfile's target that gateways of an overlay run."""
    name = container(overlay, "gateway")["image"].rpartition("/")[2].partition(":")[0]
    return dockerfile()[name.removeprefix("forcegate-")]


def environment(overlay: str) -> dict[str, str]:
    """The gateway's FORCEGATE_* variables, its image's too."""
    return set_variables(image_of(overlay), said(overlay, "gateway"))


def options(overlay: str) -> dict[str, str]:
    """Triton's command line: options by name."""
    words = [word for word in container(overlay, "triton")["args"] if word.startswith("--")]
    return {option: value for option, _, value in (word.partition("=") for word in words)}


def selected(overlay: str, labels: dict[str, str]) -> set[str]:
    """The deployments whose pods have these labels; none at all mean every one."""
    return {
        name
        for name, deployment in of_kind(overlay, "Deployment").items()
        if labels.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    }
