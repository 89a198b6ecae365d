"""The condition of ``--where``: what it selects, and that it is nothing but a condition."""

from __future__ import annotations

import numpy as np
import pytest

from forcegate_client.screening.errors import WhereInvalid
from forcegate_client.screening.where import Condition

COLUMNS = {
    "energy": np.array([-3.0, -1.0, 2.0]),
    "max_novelty": np.array([1.0, 6.0, 3.0]),
    "n_atoms": np.array([3, 0, 5]),
    "converged": np.array([True, False, True]),
}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("max_novelty < 5", [True, False, True]),
        ("max_novelty < 5 and energy < 0", [True, False, False]),
        ("not max_novelty < 5 or energy > 0", [False, True, True]),
        ("-2 < energy <= 2", [False, True, True]),
        ("energy / n_atoms < -0.9", [True, True, False]),
        ("converged", [True, False, True]),
        ("not converged", [False, True, False]),
        ("1 < 2", [True, True, True]),
        ("energy * 2 + 1 == 5", [False, False, True]),
    ],
)
def test_a_condition_selects_the_rows_that_fulfil_it(text: str, selected: list[bool]) -> None:
    assert Condition(text, tuple(COLUMNS))(COLUMNS).tolist() == selected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "energy",
        "enrgy < 0",
        "__import__('os').system('true')",
        "energy.real < 0",
        "energy[0] < 0",
        "energy < 'a'",
        "energy ** 9 < 0",
        "[energy < 0 for _ in energy]",
        "(lambda: 1)() < 2",
        "energy < 0 if 1 else 2",
        "energy in energy",
        "x := 1",
        "energy < " + "(" * 400 + "0" + ")" * 400,
        "1" * 2000 + " < 2",
    ],
)
def test_whatever_is_no_condition_is_refused_with_the_names_it_may_use(text: str) -> None:
    with pytest.raises(WhereInvalid, match="max_novelty"):
        Condition(text, tuple(COLUMNS))
