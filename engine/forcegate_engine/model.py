"""A student in this process: structures in, energies, forces and charges out."""

from __future__ import annotations

import ctypes
import hashlib
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_engine.arrays import Batch, Evaluation, array, outputs_of
from forcegate_engine.errors import ChargeMismatch, EngineError, NotFinite, WeightsRefused
from forcegate_engine.library import Info, call, library

__all__ = ["WEIGHTS_NAME", "Evaluation", "Model"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

WEIGHTS_NAME = "model.safetensors"
_CARD_NAME = "model_card.json"
# Students have some megabytes.
_MOST_BYTES = 1 << 30
# e; by more, a structure is not the ion or molecule that it is said to be.
_MOST_MISSING = 0.4
# Float32 networks differ between machines in the last digits; other weights differ by far more.
_TOLERANCE_EV = 2e-3


class Model:
    """A student, read from its weights once and used by any number of threads.

    ``interface`` 1 knows neutral structures alone, 2 charges too; ``elements`` are the atomic
    numbers that it knows, ``cutoff`` in Å is how far its network sees, ``pair_cutoff`` in Å where
    pairs of periodic structures end (0 for interface 1), ``kernel`` the code that evaluates it;
    ``handle`` is what the C interface knows it by.
    """

    def __init__(self, weights: bytes, *, kernel: str | None = None) -> None:
        """Read the content of a ``model.safetensors``.

        ``kernel`` names one of ``forcegate_engine.kernels()``; the best by default.

        Raises:
            WeightsRefused: if it holds no weights of a student.
            KernelMissing: if this processor cannot run the kernel.
            LibraryMissing: if the compiled library is not there.
        """
        handle = ctypes.c_void_p()
        name = None if kernel is None else kernel.encode()
        call("forcegate_open", weights, len(weights), name, ctypes.byref(handle))
        self.handle = handle
        weakref.finalize(self, library().forcegate_close, handle)
        info = Info()
        call("forcegate_describe", handle, ctypes.byref(info))
        self.interface: int = info.interface
        self.elements: tuple[int, ...] = tuple(info.elements[: info.n_elements])
        self.cutoff: float = info.cutoff
        self.pair_cutoff: float = info.pair_cutoff
        self.kernel: str = info.kernel.decode()

    @classmethod
    def open(cls, path: str | Path, *, kernel: str | None = None) -> Model:
        """Read a weights file, or the one in a version's folder of a model repository.

        Beside a model card the file must be the one whose digest the card names, and answer for the
        card's reference structure as the card says.

        Raises:
            WeightsRefused: if there is no such file, or another one than the card's.
            KernelMissing: if this processor cannot run the kernel.
            LibraryMissing: if the compiled library is not there.
        """
        path = Path(path)
        file = path / WEIGHTS_NAME if path.is_dir() else path
        try:
            if file.stat().st_size > _MOST_BYTES:
                raise WeightsRefused(f"{file} has more than {_MOST_BYTES} bytes")
            content = file.read_bytes()
        except OSError as error:
            raise WeightsRefused(
                f"{file}: {error.strerror}; expected the weights of a version: "
                "`forcegate-train export-weights VERSION` writes them beside its model.pt"
            ) from error
        card = _card_of(file, content)
        model = cls(content, kernel=kernel)
        if card is not None:
            _hold_against_reference(model, card, file)
        return model

    def evaluate(
        self,
        atomic_numbers: npt.ArrayLike,
        positions: npt.ArrayLike,
        *,
        n_atoms: npt.ArrayLike | None = None,
        cells: npt.ArrayLike | None = None,
        pbc: npt.ArrayLike | None = None,
        charges: npt.ArrayLike | None = None,
        threads: int = 0,
        finite: bool = True,
    ) -> Evaluation:
        """Energies, forces, and how far to trust them, of ``B`` structures one after the other.

        ``atomic_numbers`` [N] and ``positions`` [N, 3] in Å; ``n_atoms`` [B], one structure by
        default; ``cells`` [B, 3, 3] in Å, rows are vectors, and ``pbc`` [B, 3], open by default;
        ``charges`` [B] in e, to which the atomic charges must sum within 0.4 e: not compared by
        default. ``threads`` at most, 0 for one on each processor. Contiguous arrays of int64,
        float64 and bool are read in place; the interpreter's lock is released meanwhile.

        With ``finite`` False structures that have no finite answer are none to be raised for.

        A structure has the same answer, bit for bit, in every batch and for every number of
        threads.

        Raises:
            BadArgument: if shapes contradict each other.
            UnknownElement, BadStructure, TooLarge, NoCharges: for a structure that cannot be
                evaluated; ``structure`` is its index.
            ChargeMismatch: for one whose atomic charges sum to something else.
            NotFinite: for one that has no finite answer.
        """
        batch = Batch.of(atomic_numbers, positions, n_atoms, cells, pbc, charges)
        answer = batch.empty_answer(self.interface == 2)
        structures, outputs = batch.structures(), outputs_of(answer)
        arguments = (self.handle, ctypes.byref(structures), ctypes.byref(outputs), threads)
        try:
            call("forcegate_evaluate", *arguments)
        except NotFinite:
            # All answers were written.
            if finite:
                raise
        if batch.charges is not None and answer.charges is not None:
            _hold_charges(answer.charges, batch.n_atoms, batch.charges)
        return answer


def _hold_charges(charges: Float, counts: Int, told: Float) -> None:
    owner = np.repeat(np.arange(len(counts)), counts)
    sums = np.bincount(owner, weights=charges, minlength=len(counts))
    wrong = np.flatnonzero(np.abs(sums - told) > _MOST_MISSING)
    if len(wrong):
        first = int(wrong[0])
        raise ChargeMismatch(
            f"a net charge of {float(told[first]):+g} for atoms whose charges sum to "
            f"{sums[first]:+.2f} e; expected one within {_MOST_MISSING} e of that",
            first,
        )


def _card_of(file: Path, content: bytes) -> dict[str, Any] | None:
    """The model card beside a file, which must be the one that the card names."""
    card = file.with_name(_CARD_NAME)
    if not card.is_file():
        return None
    try:
        document: dict[str, Any] = json.loads(card.read_bytes())
        expected = document["files"][file.name]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsRefused(
            f"{card} names no digest of {file.name}; expected the card of this version: "
            "`forcegate-train export-weights VERSION` writes both"
        ) from error
    received = "sha256:" + hashlib.sha256(content).hexdigest()
    if received != expected:
        raise WeightsRefused(f"{file} has digest {received}; its card says {expected}")
    return document


def _hold_against_reference(model: Model, card: dict[str, Any], file: Path) -> None:
    """A digest proves what lies on a disk, this what is computed from it."""
    try:
        reference = card["reference"]
        answer = model.evaluate(reference["atomic_numbers"], reference["positions"])
        energy_error = abs(float(answer.energy[0]) - float(reference["energy"]))
        forces = array("forces", reference["forces"], np.float64, answer.forces.shape)
        force_error = float(np.abs(answer.forces - forces).max(initial=0.0))
    except (KeyError, TypeError, EngineError) as error:
        raise WeightsRefused(f"{file}: no answer for the card's reference ({error})") from error
    # Written so that NaN is a mismatch too.
    if not (energy_error <= _TOLERANCE_EV and force_error <= _TOLERANCE_EV):
        raise WeightsRefused(
            f"{file}: reference energy off by {energy_error:.2g} eV, forces by {force_error:.2g} "
            f"eV/Å; expected the answers in its card within {_TOLERANCE_EV}"
        )
