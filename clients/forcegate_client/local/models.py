"""The students of a repository in this process: what stands where a ``Client`` stands otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from ase import Atoms

from forcegate_client.errors import ModelNotFound, UnprocessableRequest
from forcegate_client.http.exchange import asked
from forcegate_client.local.student import Student
from forcegate_client.local.versions import Repository, Version, looks_like_a_path, version_at
from forcegate_client.messages import OnError, PredictResponse
from forcegate_client.structures import StructureBatch

__all__ = ["LocalModels"]


class LocalModels:
    """Answers as a gateway would, by the engine: same checks, same errors, no server.

    Models are found by name in ``repository``, a folder ``<model>/<version>/``, by default that of
    ``forcegate-models``; or by path, which is the folder of a version. ``threads`` at most compute,
    0 for one on each processor. Threads may share it, and processes after a ``fork``.
    """

    def __init__(self, repository: str | Path | None = None, *, threads: int = 0) -> None:
        """Nothing is read before it is needed."""
        self.threads = threads
        self._given = None if repository is None else Path(repository)
        self._repository: Repository | None = None
        self._students: dict[tuple[str, str], Student] = {}
        self._found: dict[tuple[str, str | None], Version] = {}
        self._lock = Lock()

    @property
    def repository(self) -> Repository:
        """Where models are looked for by name.

        Raises:
            PackageMissing: if no folder was named and forcegate-models is not installed.
            ModelRefused: if there is nothing in it.
        """
        if self._repository is None:
            self._repository = Repository(self._given)
        return self._repository

    def predict(
        self,
        structures: StructureBatch | Atoms | Sequence[Atoms],
        model: str = "painn_base",
        version: str | None = None,
        properties: Sequence[str] = ("energy", "forces"),
        on_error: OnError = "raise",
        ids: Sequence[str] | None = None,
    ) -> PredictResponse:
        """As ``Client.predict``, which says what is refused.

        Raises:
            ForcegateError: the class that a server would have raised.
        """
        question = asked(structures, model, version, properties, on_error, ids)
        student = self.student(model, version)
        partner = self._partner(student) if "force_uncertainty" in properties else None
        return question.answered(student.answer(question.request, partner))

    def student(self, model: str, version: str | None = None) -> Student:
        """The student that answers for ``model``, opened once.

        Raises:
            ModelNotFound: if there is none.
            ModelRefused: if its files are not what its card describes.
        """
        found = self.find(model, version)
        key = found.card.name, found.card.version
        with self._lock:
            if key not in self._students:
                self._students[key] = Student(found, self.threads)
            return self._students[key]

    def find(self, model: str, version: str | None = None) -> Version:
        """Card and place of the version that is meant.

        Raises:
            ModelNotFound, ModelRefused: if there is none.
        """
        known = self._found.get((model, version))
        if known is None:
            # What was found once is what is meant ever after, whatever comes into the repository.
            known = self._found[model, version] = self._look_for(model, version)
            # And the name that its answers bear means the same.
            self._found.setdefault((known.card.name, known.card.version), known)
        return known

    def _look_for(self, model: str, version: str | None) -> Version:
        if not looks_like_a_path(model):
            return self.repository.find(model, version)
        found = version_at(Path(model))
        if version not in (None, found.card.version):
            raise ModelNotFound(
                f"version {version!r:.80} of {model}",
                expected=f"{found.card.version}, the one that is there, or none",
                action="name the folder of the other version",
                code="version_not_found",
            )
        return found

    def models(self) -> list[dict[str, Any]]:
        """One entry for each model, as ``Client.models``; what is said is true of its default."""
        entries = []
        for name in self.repository.names:
            versions = self.repository.versions(name)
            try:
                default: str | None = self.repository.default(name).card.version
            except ModelNotFound:
                default = None
            card = self.repository.find(name, default or versions[-1]).card
            entries.append(
                {
                    "name": name,
                    "default_version": default,
                    "versions": versions,
                    "digest": card.digest,
                    "card_digest": card.card_digest,
                    "elements": list(card.elements),
                    "interface": 2 if card.charges else 1,
                    "status": dict(card.status),
                }
            )
        return entries

    def model(self, name: str, version: str | None = None) -> dict[str, Any]:
        """The card of model ``name``, of ``version`` or of the default one."""
        return dict(self.find(name, version).card.document)

    def close(self) -> None:
        """Forget the weights; they are read again if they are needed."""
        self._students.clear()

    def __enter__(self) -> LocalModels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _partner(self, student: Student) -> Student:
        named, card = student.card.partner, student.card
        lack = "which has no calibrated partner"
        if named is not None:
            lack = f"whose partner {named.name} {named.version} is not there as it was"
            if named.version in self.repository.versions(named.name):
                found = self.student(named.name, named.version)
                if found.card.digest == named.digest:
                    return found
        raise UnprocessableRequest(
            f"property 'force_uncertainty' of {card.name} {card.version}, {lack}",
            expected="a model with a partner, and that partner beside it",
            action="leave force_uncertainty out, or name a repository that holds both",
            code="property_unsupported",
        )
