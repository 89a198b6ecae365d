"""Novelty along a run, asked for where a frame is written and does not tell it."""

from __future__ import annotations

from ase import Atoms

from forcegate_client.http.calculator import ModelCalculator
from forcegate_client.potential import Potential
from forcegate_client.remarks import Judge

__all__ = ["NoveltyWatch"]


class NoveltyWatch:
    """An observer: the largest novelty so far, and how many of the frames are beyond the limit."""

    def __init__(self, client: Potential, judge: Judge) -> None:
        self.judge = judge
        self.largest: float | None = None
        self.frames = 0
        self.novel_frames = 0
        self._client = client

    def look(self, atoms: Atoms) -> float | None:
        """The novelty of ``atoms``; it is taken into account.

        Raises:
            ForcegateError: if the server cannot answer.
        """
        judge = self.judge
        novelty = _known(atoms)
        if novelty is None:
            found = self._client.predict(
                atoms, judge.model, judge.version, ("energy", "uncertainty")
            ).predictions
            if found.max_novelty is None:
                return None
            novelty = float(found.max_novelty[0])
        self.frames += 1
        self.novel_frames += judge.is_novel(novelty)
        self.largest = novelty if self.largest is None else max(self.largest, novelty)
        return novelty

    def remarks(self, *, periodic: bool, charged: bool) -> list[str]:
        """What is to be said of the run."""
        found = self.judge.remarks(periodic=periodic, charged=charged, novelty=self.largest)
        if self.novel_frames:
            found[0] = f"{self.novel_frames} of {self.frames} frames have a {found[0]}"
        return found


def _known(atoms: Atoms) -> float | None:
    """What the calculator knows of these very ``atoms``."""
    calculator = atoms.calc
    if not isinstance(calculator, ModelCalculator) or calculator.check_state(atoms):
        return None
    return calculator.max_novelty
