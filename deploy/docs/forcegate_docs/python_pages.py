"""The pages of the Python reference; mkdocstrings fills them from the sources."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PYTHON_PAGES", "PythonPage", "python_page"]


@dataclass(frozen=True)
class PythonPage:
    """A page and the modules on it."""

    name: str
    title: str
    introduction: str
    modules: tuple[str, ...]


PYTHON_PAGES = (
    PythonPage(
        "client",
        "The client in Python",
        "What `forcegate_client` offers; [the client](../client.md) and "
        "[molecular dynamics](../md.md) say how it is used. Units are those of ASE.",
        (
            "forcegate_client.http.calculator",
            "forcegate_client.http.client",
            "forcegate_client.local.calculator",
            "forcegate_client.local.models",
            "forcegate_client.images.hessian",
            "forcegate_client.images.displacements",
            "forcegate_client.images.vibrations",
            "forcegate_client.images.neb",
            "forcegate_client.images.together",
            "forcegate_client.structures",
            "forcegate_client.http.answers",
            "forcegate_client.md.monitor",
            "forcegate_client.md.nve",
            "forcegate_client.md.velocities",
            "forcegate_client.md.drift",
            "forcegate_client.retry",
            "forcegate_client.errors",
            "forcegate_client.testing",
        ),
    ),
    PythonPage(
        "dataset",
        "Datasets in Python",
        "`forcegate_client.dataset` reads and writes [the format](hdf5.md); it needs h5py "
        "(`forcegate-client[data]`) and no torch.",
        (
            "forcegate_client.dataset.frames",
            "forcegate_client.dataset.molecules",
            "forcegate_client.dataset.schema",
            "forcegate_client.dataset.store",
            "forcegate_client.dataset.parts",
            "forcegate_client.dataset.errors",
        ),
    ),
    PythonPage(
        "service",
        "The gateway in Python",
        "For those who embed the gateway, or add a runtime or an observer to it. "
        "[The design](../decisions/gateway.md) says how the parts work together.",
        (
            "forcegate_service.api.app",
            "forcegate_service.settings",
            "forcegate_service.contract.runtime",
            "forcegate_service.runtimes",
            "forcegate_service.contract.card",
            "forcegate_service.contract.graph",
            "forcegate_service.contract.errors",
            "forcegate_service.watch.observer",
            "forcegate_service.testing",
        ),
    ),
    PythonPage(
        "trainer",
        "The trainer in Python",
        "The parts of [training](../training.md) and [validation](../validation/README.md) that "
        "a script of your own might call; the command line covers the rest.",
        (
            "forcegate_trainer.network.painn",
            "forcegate_trainer.network.config",
            "forcegate_trainer.fit.config",
            "forcegate_trainer.teachers.spec",
            "forcegate_trainer.data.labelling.label",
            "forcegate_trainer.export.version",
            "forcegate_trainer.validation.settings",
            "forcegate_trainer.validation.verdict",
            "forcegate_trainer.errors",
        ),
    ),
)


def python_page(page: PythonPage) -> str:
    """The Markdown that mkdocstrings reads."""
    blocks = [f"::: {module}" for module in page.modules]
    return "\n\n".join([f"# {page.title}", page.introduction, *blocks]) + "\n"
