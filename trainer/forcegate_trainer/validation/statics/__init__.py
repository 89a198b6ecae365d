"""Minima, conformers, torsions and pairs of molecules, beside the teacher's."""
