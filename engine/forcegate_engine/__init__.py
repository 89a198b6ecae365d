"""forcegate's students in this process: a compiled library and numpy, no torch, no server.

``Model.open(folder)`` reads a version of a model repository, ``evaluate`` gives energies, forces,
charges and how far to trust them.
"""

from forcegate_engine.errors import EngineError
from forcegate_engine.library import kernels
from forcegate_engine.model import Evaluation, Model

__all__ = ["EngineError", "Evaluation", "Model", "kernels"]
