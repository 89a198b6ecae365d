"""forcegate's students in this process: a compiled library and numpy, no torch, no server.

``Model.open(folder)`` reads a version of a model repository, ``evaluate`` gives energies, forces,
charges and how far to trust them, ``integrate`` moves atoms, ``relax`` brings them to the next
minimum, and ``survey`` tells, without a student, how close the atoms of structures are.
"""

from forcegate_engine.arrays import Evaluation
from forcegate_engine.dynamics import Motion, integrate
from forcegate_engine.errors import EngineError
from forcegate_engine.library import kernels
from forcegate_engine.model import Model
from forcegate_engine.relaxation import Minimum, relax
from forcegate_engine.survey import Survey, survey

__all__ = [
    "EngineError",
    "Evaluation",
    "Minimum",
    "Model",
    "Motion",
    "Survey",
    "integrate",
    "kernels",
    "relax",
    "survey",
]
