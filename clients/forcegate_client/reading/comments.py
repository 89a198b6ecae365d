"""What the comment line of an XYZ frame says of charge and spin.

Nothing rules that line: programs and people write ``charge=-1``, ``Charge: 2-``, ``q = 1``, ``1 2``
or a name. What plainly says a charge is one; what may say one is a name, and a remark tells so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from forcegate_client.electrons import plain_dashes, tells_electrons
from forcegate_client.reading.record import RecordInvalid

__all__ = ["electrons_in", "remark_on", "with_plain_pairs"]

_NAME = (
    r"(?:(?:total|net|formal|overall|molecular|molecule|system|tot)[ _-]?)?(?:charge|chrg|chg)"
    r"|q_?tot(?:al)?|(?:spin[ _-]?)?mult(?:iplicity)?|2S\+1|(?:total[ _-]?)?spin|uhf"
)
_WHOLE = r"[+-]?\d+(?:\.0*)?[+-]?"
_END = r"(?=[\s,;)\]}\"']|$)"
# With a sign of equality anything is a value, and what is no number is refused; without one only
# a number is. ``q`` stands for much else: there only a whole number is a charge.
_SAID = re.compile(
    rf"(?<![\w-])(?:({_NAME})[\"']?(?:\s*[=:]\s*[(\[\"']*([+-]?[\w.]+[+-]?)"
    rf"|(?:\s+(?:is|of))?\s+[(\[]?({_WHOLE})e?{_END})"
    rf"|(q)[\"']?\s*[=:]\s*({_WHOLE}){_END})",
    re.IGNORECASE,
)
_BOTH = re.compile(
    r"\bcharge[^\w+-]+(?:and[^\w+-]+)?(?:spin[^\w+-]+)?mult\w*[^\w+-]*([+-]?\d+)[\s,/]+([1-9])\b",
    re.IGNORECASE,
)
_ALONE = re.compile(r"\s*([+-]?\d)[\s,]+([1-9])\s*")
_DOUBTFUL = re.compile(
    r"(?<![A-Za-z])(?:charge|chrg|chg)(?![A-Za-z])\D{0,6}\d|^\s*[+-]\d\s+[1-9]\s+[^\W\d]",
    re.IGNORECASE,
)
# In extended XYZ, outside of what is quoted or in brackets.
_PAIR = re.compile(
    r"(\"[^\"]*\"|'[^']*'|\{[^}]*\}|\[[^\]]*\])"
    rf"|(?<!\S)({_NAME}|q)(?:\s*[=:]\s*|\s+)\(?({_WHOLE})\)?e?[,;]*{_END}[,;]?",
    re.IGNORECASE,
)


def electrons_in(comment: str, numbers: npt.NDArray[np.int64]) -> tuple[dict[str, str], str]:
    """Charge and spin in a plain comment, as entries of ``info``; and a remark, or nothing.

    Two whole numbers are charge and multiplicity, as in inputs of Gaussian, if atoms of these
    ``numbers`` [N] can have both, or if a sign says that the first is a charge.

    Raises:
        RecordInvalid: if it says two different things under one name.
    """
    comment = plain_dashes(comment)
    if alone := _ALONE.fullmatch(comment):
        charge, multiplicity = alone[1], alone[2]
        told = {"charge": charge, "multiplicity": multiplicity}
        if charge[0] in "+-" or (charge, multiplicity) == ("0", "1"):
            return told, ""
        if (int(numbers.sum()) - int(charge) + int(multiplicity)) % 2 == 1:
            return told, f"its comment {comment.strip()!r} was read as charge and multiplicity"
        return {}, (
            f"its comment {comment.strip()!r} was taken for a name: these atoms cannot have such a "
            "charge and multiplicity"
        )
    both = _BOTH.search(comment)
    pairs = [("charge", both[1]), ("multiplicity", both[2])] if both else []
    rest = comment.replace(both[0], " ") if both else comment
    pairs += [(m[1] or m[4], next(filter(None, (m[2], m[3], m[5])))) for m in _SAID.finditer(rest)]
    told = _once(pairs)
    return told, remark_on({"comment": comment}) if not told else ""


def with_plain_pairs(comment: str) -> str:
    """An extended comment in which ``Charge: -1``, ``charge 1`` and their like are ``key=value``.

    Raises:
        RecordInvalid: if it says two different things under one name.
    """
    told: list[tuple[str, str]] = []

    def plain(match: re.Match[str]) -> str:
        if match[1]:
            return match[0]
        told.append((match[2], match[3]))
        return f"{match[2].replace(' ', '_')}={match[3]} "

    comment = _PAIR.sub(plain, plain_dashes(comment))
    _once(told)
    return comment


def remark_on(info: Mapping[str, Any]) -> str:
    """That a text may speak of a charge where none was told; nothing if none does."""
    if any(tells_electrons(key) for key in info):
        return ""
    doubtful = next(filter(_is_doubtful, _texts(info)), None)
    if doubtful is None:
        return ""
    return (
        f"its comment {doubtful.strip()[:60]!r} may speak of a charge and was taken for a name, "
        "the charge for 0; write charge=-1, say, if it has one"
    )


def _texts(info: Mapping[str, Any]) -> Iterator[str]:
    return (value for value in info.values() if isinstance(value, str))


def _is_doubtful(text: str) -> bool:
    return bool(_DOUBTFUL.search(text) or _SAID.search(text))


def _once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    told: dict[str, str] = {}
    for key, value in pairs:
        if told.setdefault(key, value) != value:
            raise RecordInvalid(
                "charge_contradictory", f"{key}={told[key]} and {key}={value} in one comment"
            )
    return told
