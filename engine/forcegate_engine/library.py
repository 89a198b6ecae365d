"""The compiled library: where it is, its structures, and its codes as exceptions."""

from __future__ import annotations

import ctypes
from ctypes import (
    POINTER,
    Structure,
    byref,
    c_char,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_size_t,
    c_void_p,
)
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from forcegate_engine.errors import (
    BadArgument,
    BadStructure,
    EngineError,
    InternalError,
    KernelMissing,
    LibraryMissing,
    NoCharges,
    NotFinite,
    OutOfMemory,
    TooLarge,
    UnknownElement,
    WeightsRefused,
)

__all__ = [
    "Answers",
    "Dynamics",
    "Info",
    "Motion",
    "Relaxation",
    "Structures",
    "Survey",
    "call",
    "kernels",
    "library",
]

_ABI = 9
_PATH = Path(__file__).with_name("libforcegate.so")
_TEXT_BYTES = 496

# By the codes of forcegate.h.
_ERRORS: dict[int, type[EngineError]] = {
    1: BadArgument,
    2: WeightsRefused,
    3: UnknownElement,
    4: BadStructure,
    5: TooLarge,
    6: OutOfMemory,
    7: KernelMissing,
    8: NotFinite,
    9: NoCharges,
}


class _Error(Structure):
    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("code", c_int32),
        ("reserved", c_int32),
        ("structure", c_int64),
        ("text", c_char * _TEXT_BYTES),
    ]


class Info(Structure):
    """``forcegate_info``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("interface", c_int32),
        ("width", c_int32),
        ("depth", c_int32),
        ("n_radial", c_int32),
        ("readout_width", c_int32),
        ("n_elements", c_int32),
        ("cutoff", c_double),
        ("pair_cutoff", c_double),
        ("elements", POINTER(c_int64)),
        ("kernel", c_char_p),
    ]


class Structures(Structure):
    """``forcegate_structures``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("n_structures", c_int64),
        ("total_atoms", c_int64),
        ("n_atoms", c_void_p),
        ("atomic_numbers", c_void_p),
        ("positions", c_void_p),
        ("cells", c_void_p),
        ("pbc", c_void_p),
        ("charges", c_void_p),
    ]


class Answers(Structure):
    """``forcegate_answers``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("energy", c_void_p),
        ("forces", c_void_p),
        ("virial", c_void_p),
        ("charges", c_void_p),
        ("energy_uncertainty", c_void_p),
        ("atom_novelty", c_void_p),
    ]


class Dynamics(Structure):
    """``forcegate_dynamics``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("steps", c_int64),
        ("ensembles", c_void_p),
        ("masses", c_void_p),
        ("fixed", c_void_p),
    ]


class Motion(Structure):
    """``forcegate_motion``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("positions", c_void_p),
        ("velocities", c_void_p),
        ("forces", c_void_p),
        ("steps_done", c_int64),
    ]


class Relaxation(Structure):
    """``forcegate_relaxation``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("force", c_void_p),
        ("most_steps", c_void_p),
        ("fixed", c_void_p),
        ("forces", c_void_p),
        ("positions", c_void_p),
        ("velocities", c_void_p),
        ("fires", c_void_p),
        ("steps", c_void_p),
        ("converged", c_void_p),
    ]


class Survey(Structure):
    """``forcegate_survey_of``."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("cutoff", c_double),
        ("pair_cutoff", c_double),
        ("n_numbers", c_int64),
        ("shortest", c_void_p),
        ("edges", c_void_p),
        ("pairs", c_void_p),
        ("nearest", c_void_p),
        ("closeness", c_void_p),
        ("distance", c_void_p),
        ("closest", c_void_p),
        ("isolation", c_void_p),
    ]


@cache
def library() -> ctypes.CDLL:
    """The library, loaded once. Its functions release the interpreter's lock.

    Raises:
        LibraryMissing: if it is not there, cannot be loaded, or is of another release.
    """
    try:
        loaded = ctypes.CDLL(str(_PATH))
        found = loaded.forcegate_abi()
    except (OSError, AttributeError) as error:
        raise LibraryMissing(
            f"{error}; expected the library that a wheel of forcegate-engine brings: in a checkout "
            "of the sources, `python engine/hatch_build.py` compiles it"
        ) from error
    if found != _ABI:
        raise LibraryMissing(
            f"{_PATH} has interface {found}, this release of forcegate-engine speaks {_ABI}: "
            "compile it again"
        )
    error_pointer = POINTER(_Error)
    loaded.forcegate_kernel.argtypes = [c_int32]
    loaded.forcegate_kernel.restype = c_char_p
    loaded.forcegate_open.argtypes = [
        *(c_char_p, c_size_t, c_char_p),
        *(POINTER(c_void_p), error_pointer),
    ]
    loaded.forcegate_describe.argtypes = [c_void_p, POINTER(Info), error_pointer]
    loaded.forcegate_close.argtypes = [c_void_p]
    loaded.forcegate_close.restype = None
    loaded.forcegate_survey.argtypes = [POINTER(Structures), POINTER(Survey), error_pointer]
    loaded.forcegate_evaluate.argtypes = [
        *(c_void_p, POINTER(Structures), POINTER(Answers)),
        *(c_int32, error_pointer),
    ]
    loaded.forcegate_integrate.argtypes = [
        *(c_void_p, POINTER(Structures), POINTER(Dynamics), POINTER(Motion)),
        *(POINTER(Answers), c_int32, error_pointer),
    ]
    loaded.forcegate_relax.argtypes = [
        *(c_void_p, POINTER(Structures), POINTER(Relaxation), POINTER(Answers)),
        *(c_int32, error_pointer),
    ]
    return loaded


def kernels() -> tuple[str, ...]:
    """The kernels that this processor runs, best first."""
    names: list[str] = []
    while name := library().forcegate_kernel(len(names)):
        names.append(name.decode())
    return tuple(names)


def call(name: str, *arguments: object) -> None:
    """Call a function of the library that takes an error as its last argument.

    Raises:
        EngineError: if it returns a code other than 0.
    """
    error = _Error()
    code = getattr(library(), name)(*arguments, byref(error))
    if code:
        structure = None if error.structure < 0 else int(error.structure)
        kind = _ERRORS.get(code, InternalError)
        raise kind(error.text.decode(errors="replace"), structure)
