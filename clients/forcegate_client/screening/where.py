"""``--where``: a condition over the columns of the results, read as a tree and never executed.

Comparisons of columns, numbers, and ``+ - * /`` of them, joined by ``and``, ``or`` and ``not``:
``max_novelty < 5 and energy_per_atom <= -300``. Everything else is refused.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.screening.errors import WhereInvalid

__all__ = ["Condition"]

Column = npt.NDArray[Any]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_LONGEST = 1000


class Condition:
    """An expression over ``columns``, checked when it is made.

    Raises:
        WhereInvalid: if it is anything but a condition over these columns.
    """

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        self.text = text
        self.columns = tuple(columns)
        if len(text) > _LONGEST:
            raise self._refused(f"{len(text)} characters")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._refused(f"no expression ({type(error).__name__})") from error
        self._require_truth(self._tree)

    def __call__(self, columns: Mapping[str, Column]) -> npt.NDArray[np.bool_]:
        """Which rows fulfil it, [K]."""
        size = len(next(iter(columns.values())))
        # Dividing by zero gives an infinity, which compares as one would expect.
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self._value(self._tree, columns)
        return np.broadcast_to(np.asarray(found, dtype=np.bool_), size)

    def _require_truth(self, node: ast.expr) -> None:
        match node:
            case ast.BoolOp(values=values):
                for value in values:
                    self._require_truth(value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._require_truth(operand)
            case ast.Compare(left=left, ops=ops, comparators=others):
                for op in ops:
                    if type(op) not in _COMPARISONS:
                        raise self._refused(f"the comparison {type(op).__name__}")
                for side in (left, *others):
                    self._require_number(side)
            case ast.Name(id="converged"):
                self._require_number(node)
            case _:
                raise self._refused(f"{ast.unparse(node)!r}, which is neither true nor false")

    def _require_number(self, node: ast.expr) -> None:
        match node:
            case ast.Constant(value=bool() | int() | float()):
                return
            case ast.Name(id=name) if name in self.columns:
                return
            case ast.Name(id=name):
                raise self._refused(f"the name {name!r}")
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._require_number(operand)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                self._require_number(left)
                self._require_number(right)
            case _:
                raise self._refused(f"{ast.unparse(node)!r}")

    def _value(self, node: ast.expr, columns: Mapping[str, Column]) -> Any:
        match node:
            case ast.BoolOp(op=op, values=values):
                joined = np.logical_and if isinstance(op, ast.And) else np.logical_or
                found = self._value(values[0], columns)
                for value in values[1:]:
                    found = joined(found, self._value(value, columns))
                return found
            case ast.UnaryOp(op=op, operand=operand):
                value = self._value(operand, columns)
                if isinstance(op, ast.Not):
                    return np.logical_not(value)
                return -value if isinstance(op, ast.USub) else value
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [self._value(side, columns) for side in (left, *others)]
                found = np.True_
                for kind, one, other in zip(map(type, ops), sides, sides[1:], strict=False):
                    found = np.logical_and(found, _COMPARISONS[kind](one, other))
                return found
            case ast.BinOp(left=left, op=op, right=right):
                return _ARITHMETIC[type(op)](
                    self._value(left, columns), self._value(right, columns)
                )
            case ast.Name(id=name):
                return columns[name]
            case ast.Constant(value=int() | float() as value):
                # Not an integer of any size: numpy would refuse it, or overflow.
                return value if isinstance(value, bool) else np.float64(value)
        raise AssertionError(f"{node} passed the check")

    def _refused(self, what: str) -> WhereInvalid:
        return WhereInvalid(
            f"{what} in the condition {self.text[:80]!r}",
            expected=f"comparisons of numbers and of {', '.join(self.columns)}, "
            "joined by and, or, not",
            action="correct --where; for example 'max_novelty < 5'",
        )
