"""What work a folder of results is for; other work is never mixed in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from forcegate_client.remarks import Judge
from forcegate_client.screening.errors import ResultsMismatch, ScreeningError
from forcegate_client.writing.files import write_text

__all__ = ["MANIFEST", "Manifest", "Shard", "file_digest"]

MANIFEST = "manifest.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Shard:
    """The ``number``-th of ``count`` parts of the input, from 1."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """From ``2/8``.

        Raises:
            ScreeningError: if it is anything else.
        """
        number, _, count = text.partition("/")
        if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
            raise ScreeningError(
                f"the shard {text!r}",
                expected="i/n with 1 ≤ i ≤ n, such as 2/8",
                action="for a Slurm array of 1-8: --shard $SLURM_ARRAY_TASK_ID/8",
                code="shard_invalid",
            )
        return cls(int(number), int(count))

    def folder(self, out: Path) -> Path:
        """Where its results are."""
        if self.count == 1:
            return out
        return out / f"shard-{self.number:05d}-of-{self.count:05d}"

    def range(self, size: int) -> tuple[int, int]:
        """Its structures: all shards together have each structure once."""
        return size * (self.number - 1) // self.count, size * self.number // self.count


@dataclass(frozen=True)
class Manifest:
    """``files`` are the inputs with their digests, ``model`` the pinned weights.

    Structures ``start`` to ``stop`` of all of them are done in parts of ``part_size``. ``judged``
    is what the model's card said of it; that may change while the weights stay.
    """

    files: list[dict[str, Any]]
    model: dict[str, Any]
    settings: dict[str, Any]
    part_size: int
    start: int
    stop: int
    shard: dict[str, int]
    schema_version: int = SCHEMA_VERSION
    judged: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of what results depend on; files may move, their content may not."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    @property
    def parts(self) -> list[tuple[int, int]]:
        """Bounds of all parts."""
        return [
            (start, min(start + self.part_size, self.stop))
            for start in range(self.start, self.stop, self.part_size)
        ]

    def part_path(self, folder: Path, start: int) -> Path:
        """Where the part that begins at ``start`` is."""
        return folder / "parts" / f"{start:012d}.h5"

    def judge(self) -> Judge:
        """What was known of the model when it was asked."""
        return Judge(
            self.model["name"],
            self.model["version"],
            self.model["digest"],
            dict(self.judged.get("status", {})),
            self.judged.get("novelty_limit"),
        )

    def places(self, index: Sequence[int]) -> list[tuple[str, int]]:
        """For each of these structures the file that it is in, and its number there."""
        names = [str(entry.get("name") or entry["path"]) for entry in self.files]
        begins = np.cumsum([0, *(entry["structures"] for entry in self.files)])
        files = np.searchsorted(begins, index, side="right") - 1
        numbers = np.asarray(index) - begins[files]
        return [(names[f], n) for f, n in zip(files.tolist(), numbers.tolist(), strict=True)]

    def write(self, folder: Path) -> None:
        """Put it into ``folder``, whole or not at all.

        Raises:
            OutputUnwritable: if there is no room for it.
        """
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        write_text(folder / MANIFEST, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """The one in ``folder``; None if there is none.

        Raises:
            ResultsMismatch: if it cannot be understood.
        """
        path = folder / MANIFEST
        if not path.is_file():
            return None
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            version = document["schema_version"]
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}")
            return cls(**document)
        except (ValueError, KeyError, TypeError) as error:
            raise ResultsMismatch(
                f"{path} ({error})",
                expected=f"a manifest of schema version {SCHEMA_VERSION}",
                action="screen into another folder, or continue with the release that wrote it",
            ) from error

    def require_same(self, earlier: Manifest, folder: Path) -> None:
        """Refuse to add results to those of other work.

        Raises:
            ResultsMismatch: saying what differs.
        """
        mine, theirs = self._content(), earlier._content()
        if "card_digest" not in theirs["model"]:
            # Begun when no server told it; the weights have to do.
            mine["model"] = {k: v for k, v in mine["model"].items() if k != "card_digest"}
        differences = _differences(mine, theirs)
        if differences:
            raise ResultsMismatch(
                f"{'; '.join(differences)}, for the results in {folder}",
                expected="the same input, model and settings as before",
                action="repeat the earlier command, choose another --out, or delete the folder",
            )

    def _content(self) -> dict[str, Any]:
        content = asdict(self)
        del content["judged"]
        content["files"] = [
            {k: v for k, v in f.items() if k not in ("path", "name")} for f in self.files
        ]
        return content


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differences(now: Any, before: Any, name: str = "") -> list[str]:
    if isinstance(now, Mapping) and isinstance(before, Mapping):
        return [
            line
            for key in sorted({*now, *before})
            for line in _differences(
                now.get(key), before.get(key), f"{name}.{key}" if name else str(key)
            )
        ]
    if (
        isinstance(now, Sequence)
        and isinstance(before, Sequence)
        and not isinstance(now, str)
        and len(now) == len(before)
    ):
        return [
            line
            for i, (one, other) in enumerate(zip(now, before, strict=True))
            for line in _differences(one, other, f"{name}[{i}]")
        ]
    return [] if now == before else [f"{name} {now!r} now, {before!r} before"]
