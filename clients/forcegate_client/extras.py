"""Packages that not every installation has, and the command that brings them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from forcegate_client.errors import ForcegateError

__all__ = ["PackageMissing", "install_command", "needing"]

# Those that are imported, by the extra that brings them.
_PACKAGES = {
    "data": ("h5py",),
    "screening": ("h5py", "matplotlib", "pyarrow"),
    "chem": ("rdkit",),
    "openmm": ("openmm", "openmmml"),
    "qcengine": ("qcengine", "qcelemental"),
    "local": ("forcegate_engine", "forcegate_models"),
}


class PackageMissing(ForcegateError):
    """A format or a command needs a package that is not installed."""

    default_code = "package_missing"
    title = "A package is not installed"


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Imports from within may lack what ``extra`` brings; ``what`` is what needs it.

    Raises:
        PackageMissing: naming the package and the command that brings it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES[extra]:
            raise
        raise PackageMissing(
            f"{what} without the package {package}",
            expected=f"an installation with the [{extra}] extra",
            action=install_command(extra),
        ) from error


def install_command(extra: str) -> str:
    """The command that adds ``extra`` to this installation.

    It names where this installation came from, a folder or a wheel, and never a name alone:
    nobody has registered ``forcegate-client`` on the package index, and anybody could.
    """
    source = _installed_from()
    if source is None:
        beside = "./engine ./models " if extra == "local" else ""
        return f"pip install {beside}'./clients[{extra}]' in a checkout of forcegate"
    named = [str(path) for path in _beside(source)] if extra == "local" else []
    return f"pip install {' '.join([*named, repr(f'{source}[{extra}]')])}"


def _beside(source: Path) -> list[Path]:
    """The other distributions of local use, where they lie beside the client's."""
    if source.is_dir():
        found = [source.parent / name for name in ("engine", "models")]
        return [path for path in found if (path / "pyproject.toml").is_file()]
    names = ("forcegate_engine", "forcegate_models")
    return [path for name in names for path in sorted(source.parent.glob(f"{name}-*.whl"))[-1:]]


def _installed_from() -> Path | None:
    """The folder or wheel that pip took it from, as pip noted it, if it is still there."""
    try:
        noted = distribution("forcegate-client").read_text("direct_url.json")
        url = urlsplit(json.loads(noted or "{}").get("url", ""))
    except (PackageNotFoundError, ValueError, AttributeError):
        return None
    path = Path(url2pathname(url.path))
    return path if url.scheme == "file" and path.exists() else None
