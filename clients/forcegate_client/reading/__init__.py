"""Structures in the forms in which people have them: one reader for all commands.

In the order in which data pass: ``inputs`` (what is named), ``formats``, ``compression``,
``indexed`` (where records begin), a parser of each format, ``record`` (what becomes of one),
``library`` (all of them in a row), ``chunk`` and ``process`` for screenings.
"""

from forcegate_client.reading.errors import InputUnreadable, PackageMissing
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.library import Library, open_library
from forcegate_client.reading.record import Origin, Problem, Record

__all__ = [
    "Input",
    "InputUnreadable",
    "Library",
    "Origin",
    "PackageMissing",
    "Problem",
    "Record",
    "open_library",
]
