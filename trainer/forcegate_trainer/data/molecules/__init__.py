"""Which molecules there are, who they are, and which split each belongs to."""

from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.data.molecules.lists import builtin_lists, read_list

__all__ = ["Molecule", "builtin_lists", "identify", "read_list"]
