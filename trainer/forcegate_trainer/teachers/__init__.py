"""Teachers: named methods that give energies and forces, of many structures at once."""

from forcegate_trainer.teachers.interface import Answer, Teacher
from forcegate_trainer.teachers.spec import make_teacher, parse_teacher

__all__ = ["Answer", "Teacher", "make_teacher", "parse_teacher"]
