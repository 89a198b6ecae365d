"""Which versions there are in a folder, and which of them is meant."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forcegate_client.checks.card import CARD_NAME, ENGINE_NAME
from forcegate_client.errors import ModelNotFound, ModelRefused
from forcegate_client.extras import needing
from forcegate_client.local.card import LocalCard
from forcegate_client.messages import DEFAULT_MODEL

__all__ = ["Repository", "Version", "looks_like_a_path", "version_at"]

_POINTER_NAME = "default.json"


@dataclass(frozen=True)
class Version:
    """One version on the disk: its folder, which holds card and weights."""

    folder: Path
    card: LocalCard

    @property
    def weights(self) -> Path:
        """What the engine reads."""
        return self.folder / ENGINE_NAME


def version_at(path: Path) -> Version:
    """The version in a folder, or the one that a weights file in it belongs to.

    Raises:
        ModelRefused: if there is no card.
    """
    folder = path if path.is_dir() else path.parent
    return Version(folder, LocalCard.load(folder))


class Repository:
    """The versions in a folder ``<model>/<version>/``; without one, those of forcegate-models."""

    def __init__(self, folder: str | Path | None = None) -> None:
        """Look for them.

        Raises:
            PackageMissing: if no folder is named and forcegate-models is not installed.
            ModelRefused: if there is no such folder, or no version in it.
        """
        if folder is None:
            with needing("local", "a student in this process"):
                from forcegate_models import repository
            folder = repository()
        self.folder = Path(folder)
        found = [
            path.parent
            for path in self.folder.glob(f"*/*/{CARD_NAME}")
            if path.parent.name.isdecimal()
        ]
        if not found:
            what = "no model in it" if self.folder.is_dir() else "no such folder"
            raise ModelRefused(
                f"model repository {self.folder}: {what}",
                expected="<model>/<version>/model_card.json with a number as version",
                action="name another repository, or leave it out for the published students of "
                "forcegate-models",
            )
        self._folders: dict[str, dict[str, Path]] = {}
        for path in sorted(found, key=lambda path: (path.parent.name, int(path.name))):
            self._folders.setdefault(path.parent.name, {})[path.name] = path

    @property
    def names(self) -> list[str]:
        """The models, sorted."""
        return list(self._folders)

    def versions(self, model: str) -> list[str]:
        """The versions of a model, oldest first; none of one that is not there."""
        return list(self._folders.get(model, ()))

    def find(self, model: str, version: str | None = None) -> Version:
        """What is meant by ``model``: its default version unless one is named.

        Raises:
            ModelNotFound: if there is no such model or version; it says what there is.
            ModelRefused: if its card cannot be read.
        """
        if model == DEFAULT_MODEL and model not in self._folders and len(self.names) == 1:
            model = self.names[0]
        if model not in self._folders:
            raise ModelNotFound(
                f"model {model[:80]!r}",
                expected=f"one of {', '.join(self.names)}, those in {self.folder}",
                action="ask for one of them by name, or name another repository",
            )
        folders = self._folders[model]
        if version is None:
            return self.default(model)
        if version not in folders:
            raise ModelNotFound(
                f"version {version[:80]!r} of model {model[:80]!r}",
                expected=f"one of {', '.join(folders)}, or none for the default",
                action="`forcegate models --local` lists what there is",
                code="version_not_found",
            )
        return Version(folders[version], LocalCard.load(folders[version]))

    def default(self, model: str) -> Version:
        """The version that was promoted, as a gateway would serve it, else the newest fit one.

        Raises:
            ModelNotFound: if no version is validated, or the one that was promoted is not there.
        """
        cards = {version: LocalCard.load(path) for version, path in self._folders[model].items()}
        promoted = self._promotion(model)
        if promoted is not None:
            card = cards.get(str(promoted.get("version")))
            if card is not None and card.card_digest == promoted.get("card_digest"):
                return Version(self._folders[model][card.version], card)
            raise _no_default(
                model, f"version {promoted.get('version')} was promoted, and is not there", cards
            )
        fit = [version for version, card in cards.items() if card.fit_for_something]
        if not fit:
            raise _no_default(model, "no version is validated, and none was promoted", cards)
        newest = max(fit, key=int)
        return Version(self._folders[model][newest], cards[newest])

    def _promotion(self, model: str) -> dict[str, Any] | None:
        path = self.folder / model / _POINTER_NAME
        try:
            found = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ModelRefused(
                f"{path}: {error}",
                expected="a file written by `forcegate-serve promote`",
                action="name a version, or promote the one that is to be the default",
            ) from error
        return found if isinstance(found, dict) else {}


def looks_like_a_path(model: str) -> bool:
    """Whether a model is named by where it lies: names have no separators."""
    return os.sep in model or "/" in model or model in (".", "..")


def _no_default(model: str, reason: str, cards: dict[str, LocalCard]) -> ModelNotFound:
    return ModelNotFound(
        f"model {model} without a version: {reason}",
        expected=f"one of the versions {', '.join(cards)} to be named",
        action="name one, or promote one (`forcegate-serve promote`)",
        code="no_default_version",
    )
