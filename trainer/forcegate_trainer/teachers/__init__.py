"""Teachers: named methods that give energies and forces, as ASE calculators."""

from forcegate_trainer.teachers.spec import Teacher, make_teacher, parse_teacher

__all__ = ["Teacher", "make_teacher", "parse_teacher"]
