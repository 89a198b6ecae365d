"""From a teacher's name on the command line to a method.

- ``aimnet2``: AIMNet2's ensemble, from the file that `teacher fetch aimnet2` gets, or
  ``aimnet2:<file>``; ``aimnet2-member0`` to ``aimnet2-member3``: one network of it;
- ``tblite:GFN2-xTB``, ``tblite:GFN1-xTB``: extended tight binding, in this process;
- ``orb:<model>``: a model of orb-models, if that is installed;
- ``student:<version folder>``: an exported student, as the teacher of a smaller one;
- ``package.module:factory``: a function without arguments that returns an ASE calculator. It may
  have attributes ``version`` (str) and ``settings`` (dict), which are stored with the labels.
"""

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ase.calculators.calculator import BaseCalculator

from forcegate_client.dataset import TeacherRecord
from forcegate_trainer.errors import TeacherError
from forcegate_trainer.teachers.calculators import CalculatorTeacher, StudentTeacher
from forcegate_trainer.teachers.interface import Teacher

DEFAULT_TEACHER = "aimnet2"
# The ensemble, or a member of it.
AIMNET2 = {"aimnet2": None, **{f"aimnet2-member{number}": number for number in range(4)}}
TBLITE_METHODS = ("GFN2-xTB", "GFN1-xTB")
# At the default 1.0 GFN2's forces carry enough noise to make molecular dynamics drift.
TBLITE_ACCURACY = 0.1


def make_teacher(spec: str, accuracy: float = TBLITE_ACCURACY) -> BaseCalculator:
    """A fresh ASE calculator for a teacher's name; ``TeacherError`` as :func:`parse_teacher`."""
    return parse_teacher(spec, accuracy).calculator()


def parse_teacher(spec: str, accuracy: float = TBLITE_ACCURACY) -> Teacher:
    """The teacher of that name; ``accuracy`` is tblite's (smaller is tighter).

    Raises:
        TeacherError: if the name is unknown, or what it needs is not installed.
        ModelRefused: if a student's files do not match its card.
    """
    kind, separator, name = spec.partition(":")
    if kind in AIMNET2:
        return _aimnet2(spec, AIMNET2[kind], name)
    if not separator or not kind or not name:
        raise TeacherError(
            f"received teacher {spec!r}; expected 'aimnet2', 'tblite:GFN2-xTB', 'orb:<model>' or "
            "'package.module:factory'; a student is 'student:<version folder>'"
        )
    if kind == "tblite":
        return _tblite(spec, name, accuracy)
    if kind == "orb":
        return _orb(spec, name)
    if kind == "student":
        return StudentTeacher(Path(name))
    return _factory(spec, kind, name)


def recorded_teacher(stored: object) -> Teacher | None:
    """The teacher that a card or a file names with version and settings; None if it cannot be had.

    Those that this package brings alone: whoever wrote the file has no say in what is imported.

    Raises:
        TeacherError: if it is one of them and what it needs is not installed.
    """
    if not isinstance(stored, Mapping):
        return None
    name, settings = stored.get("name"), stored.get("settings")
    if not isinstance(name, str) or not isinstance(settings, Mapping):
        return None
    own = name in AIMNET2 or name in {f"tblite:{method}" for method in TBLITE_METHODS}
    accuracy = settings.get("accuracy", TBLITE_ACCURACY)
    if not own or not isinstance(accuracy, float):
        return None
    return parse_teacher(name, accuracy)


def same_teacher(stored: object, teacher: TeacherRecord | None) -> bool:
    """Whether what a card or a label stores about a teacher is about ``teacher``."""
    if teacher is None or not isinstance(stored, Mapping):
        return False
    fields = {"name": teacher.name, "version": teacher.version, "settings": dict(teacher.settings)}
    return dict(stored) == fields


def _tblite(spec: str, method: str, accuracy: float) -> Teacher:
    if method not in TBLITE_METHODS:
        raise TeacherError(
            f"received teacher {spec!r}; expected tblite with one of {', '.join(TBLITE_METHODS)}"
        )
    try:
        from forcegate_trainer.teachers.xtb import XTB
    except ImportError as error:
        raise TeacherError(
            f"teacher {spec!r} needs tblite, which cannot be imported ({error}); "
            "pip install ./clients '.[trainer]' in a checkout"
        ) from error
    record = TeacherRecord(spec, _version("tblite"), {"accuracy": accuracy})
    return CalculatorTeacher(record, lambda: XTB(method=method, accuracy=accuracy, verbosity=0))


def _orb(spec: str, model: str) -> Teacher:
    try:
        pretrained = importlib.import_module("orb_models.forcefield.pretrained")
        calculators = importlib.import_module("orb_models.forcefield.calculator")
    except ImportError as error:
        raise TeacherError(
            f"teacher {spec!r} needs orb-models, which cannot be imported ({error}); "
            "pip install orb-models"
        ) from error
    load = getattr(pretrained, model.replace("-", "_"), None)
    if load is None:
        raise TeacherError(
            f"received teacher {spec!r}; the installed orb-models {_version('orb-models')} has no "
            f"model {model!r}: see orb_models.forcefield.pretrained for its models"
        )
    loaded = load(device="cpu")
    # Newer releases return the model with the adapter that turns atoms into its input.
    arguments = loaded if isinstance(loaded, tuple) else (loaded,)
    record = TeacherRecord(spec, _version("orb-models"), {"device": "cpu"})
    return CalculatorTeacher(record, lambda: calculators.ORBCalculator(*arguments, device="cpu"))


def _aimnet2(spec: str, member: int | None, path: str) -> Teacher:
    # Here because torch takes seconds to import.
    from forcegate_trainer.teachers.aimnet2 import AIMNet2Teacher
    from forcegate_trainer.teachers.aimnet2_file import default_path

    return AIMNet2Teacher(Path(path) if path else default_path(), spec, member)


def _factory(spec: str, module: str, name: str) -> Teacher:
    try:
        factory = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise TeacherError(
            f"received teacher {spec!r}, which cannot be imported ({error}); expected "
            "'package.module:factory' on the Python path"
        ) from error
    settings: Mapping[str, Any] = getattr(factory, "settings", {})
    stated = getattr(factory, "version", None)
    return CalculatorTeacher(
        TeacherRecord(spec, stated or _version(module), dict(settings)), factory
    )


def _version(module: str) -> str:
    try:
        return version(module.partition(".")[0])
    except PackageNotFoundError:
        return "unknown"
