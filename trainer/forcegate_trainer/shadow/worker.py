"""From the spool to the gateway: claim a file, label its structures, report, and take the next."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from forcegate_client.errors import ModelNotFound
from forcegate_service.watch.shadow.record import (
    ShadowRecord,
    SpoolFileUnreadable,
    decode,
)
from forcegate_service.watch.shadow.results import (
    LabelledStructure,
    ShadowResults,
    SkippedStructure,
)
from forcegate_service.watch.shadow.spool import Claim, Spool
from forcegate_trainer.errors import TeacherError
from forcegate_trainer.shadow.comparison import compare
from forcegate_trainer.shadow.gateway import Gateway
from forcegate_trainer.teachers.interface import Teacher
from forcegate_trainer.teachers.spec import recorded_teacher, same_teacher

__all__ = ["Tally", "Worker"]

# A teacher that crashes on a structure takes its process with it; another may just have been ended.
_MOST_ATTEMPTS = 3


@dataclass
class Tally:
    """What became of structures (``labelled``, ``skipped`` by reason) and files (``discarded`` by
    reason, ``refused`` by the teacher that they want); ``unwanted`` results did not count.
    """

    labelled: int = 0
    unwanted: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    discarded: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counted = {
            "skipped": self.skipped, "files discarded": self.discarded,
            "files for another teacher": self.refused,
        }  # fmt: skip
        parts = [f"{self.labelled} labelled"]
        parts += [
            f"{what}: {', '.join(f'{n} {reason}' for reason, n in sorted(counts.items()))}"
            for what, counts in counted.items()
            if counts
        ]
        if self.unwanted:
            parts.append(f"{self.unwanted} results that the gateway did not wait for")
        return "; ".join(parts)


class Worker:
    """Labels what is in ``spool`` with the teacher of the student.

    The file names a teacher, and so does the gateway's card of the version: both must name the one
    that labels, to its version and settings, or the error would be that of somebody else. That is
    ``teacher``, or without one whichever they name, if it is one that this package brings.
    """

    def __init__(
        self,
        spool: Spool,
        gateway: Gateway,
        teacher: Teacher | None,
        tell: Callable[[str], None],
    ) -> None:
        self._spool = spool
        self._gateway = gateway
        self._teacher = teacher
        self._tell = tell
        self._known: dict[str, Teacher | None] = {}
        self._refused: set[str] = set()
        self.tally = Tally()

    def run(self) -> Tally:
        """Do all that can be done now.

        Raises:
            TeacherError: if there was something to do, and all of it is for another teacher.
            ForcegateError: if the gateway does not take results.
        """
        before = self.tally.labelled + self.tally.skipped.total()
        while self._one():
            pass
        did = self.tally.labelled + self.tally.skipped.total() - before
        if self.tally.refused and not did:
            raise TeacherError(
                f"received files for {', '.join(self.tally.refused)}; expected structures of "
                f"students of {self._wanted()}: give that --teacher, with its --accuracy and in "
                "its version"
            )
        return self.tally

    def run_on(self, pause_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
        """Do what there is, and look again after each pause, for ever."""
        said = ""
        while True:
            try:
                self.run()
            except TeacherError as error:
                if str(error) != said:
                    self._tell(str(error))
                said = str(error)
            sleep(pause_s)

    def _one(self) -> bool:
        """Deal with one file; whether there was one."""
        claim = self._spool.claim(without=self._refused)
        if claim is None:
            return False
        try:
            finished = self._deal_with(claim)
        except BaseException:
            claim.release()
            raise
        if finished:
            claim.done()
        else:
            self._refused.add(claim.name)
            claim.release()
        return True

    def _deal_with(self, claim: Claim) -> bool:
        """Whether the file is finished; if not, it is for a worker with another teacher."""
        try:
            record = decode(claim.content)
        except SpoolFileUnreadable as error:
            self._tell(str(error))
            self.tally.discarded["unreadable"] += 1
            return True
        try:
            card = self._gateway.card(record.model, record.version)
        except ModelNotFound:
            self.tally.discarded["not served any more"] += 1
            return True
        if _digest(card) != record.digest:
            self.tally.discarded["of other weights"] += 1
            return True
        teacher = self._teacher or self._named(record.teacher)
        for stored in (record.teacher, card.get("teacher")):
            if teacher is None or not same_teacher(stored, teacher.record):
                self.tally.refused[_name(stored)] += 1
                return False
        assert teacher is not None
        self._report(self._label(record, teacher, claim.attempt))
        return True

    def _named(self, stored: Mapping[str, object]) -> Teacher | None:
        """The teacher that a file names, made once; None if it is not to be had, which is told."""
        name = _name(stored)
        if name not in self._known:
            try:
                self._known[name] = recorded_teacher(stored)
            except TeacherError as error:
                self._tell(str(error))
                self._known[name] = None
        return self._known[name]

    def _wanted(self) -> str:
        if self._teacher is not None:
            return self._teacher.record.to_json()
        return "a teacher that this package brings and finds"

    def _label(self, record: ShadowRecord, teacher: Teacher, attempt: int) -> ShadowResults:
        if attempt > _MOST_ATTEMPTS:
            lost = [
                SkippedStructure(id=structure.id, reason="killed_the_teacher")
                for structure in record.structures
            ]
            return ShadowResults(skipped=lost)
        found = [compare(structure, teacher) for structure in record.structures]
        return ShadowResults(
            results=[one for one in found if isinstance(one, LabelledStructure)],
            skipped=[one for one in found if isinstance(one, SkippedStructure)],
        )

    def _report(self, results: ShadowResults) -> None:
        receipt = self._gateway.report(results)
        self.tally.labelled += len(results.results)
        self.tally.skipped.update(one.reason for one in results.skipped)
        self.tally.unwanted += receipt.refused


def _digest(card: dict[str, object]) -> object:
    files = card.get("files")
    return files.get("model.pt") if isinstance(files, dict) else None


def _name(stored: object) -> str:
    if not isinstance(stored, dict):
        return "no teacher"
    return f"{stored.get('name')} {stored.get('version')} {stored.get('settings')}"
