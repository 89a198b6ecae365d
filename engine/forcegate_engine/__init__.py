"""forcegate's students in this process: a compiled library and numpy, no torch, no server.

``Model.open(folder)`` reads a version of a model repository, ``evaluate`` gives energies, forces,
charges and how far to trust them, ``integrate`` moves atoms, and
``relax`` brings them to the next minimum.
"""

from forcegate_engine.arrays import Evaluation
from forcegate_engine.contacts import closest_pairs
from forcegate_engine.dynamics import Motion, integrate
from forcegate_engine.errors import EngineError
from forcegate_engine.library import kernels
from forcegate_engine.model import Model
from forcegate_engine.relaxation import Minimum, relax

__all__ = [
    "EngineError",
    "Evaluation",
    "Minimum",
    "Model",
    "Motion",
    "closest_pairs",
    "integrate",
    "kernels",
    "relax",
]
