"""Relax, Run and the slider on the page: live from the server's streams, stopped, played back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from ase.build import molecule

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.browser import Page, browser

# Needs a browser.
pytestmark = pytest.mark.system

# The toy repels what is nearer than 5 Å, and nothing else.
PAIR = "2\n\nO 0 0 0\nO 0 0 3.9\n"
STATE = "document.querySelector('#run-state').textContent"
COUNT = "Number(document.querySelector('#frame').max)"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    write_fake_model(folder, "fake")
    with running_gateway(Settings(model_repository=folder, runtime="fake")) as url:
        yield url


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(window: Page, gateway: str) -> Page:
    window.open(f"{gateway}/")
    window.until("document.querySelector('.answer') !== null")
    return window


def paste(page: Page, text: str) -> None:
    page.run("document.querySelector('#result').replaceChildren()")
    page.run(f"document.querySelector('#text').value = {json.dumps(text)}")
    page.run("document.querySelector('#text').dispatchEvent(new Event('input'))")
    page.until("document.querySelector('.answer') !== null")


def test_a_run_is_seen_as_it_goes_turned_meanwhile_stopped_and_played_back(page: Page) -> None:
    page.click("#run")
    page.until(f"{STATE}.includes(' ps · ') && {STATE}.includes(' K · ')")
    first = page.run(STATE)
    picture = "document.querySelector('#canvas').toDataURL()"
    before = page.run(picture)
    page.run("document.querySelector('#canvas').focus()")
    page.press("ArrowLeft")
    page.until(f"{picture} !== {json.dumps(before)}")
    page.until(f"{STATE} !== {json.dumps(first)}")
    assert page.run("document.querySelectorAll('#run-curves svg path').length") >= 2
    page.click("#halt")
    page.until("document.querySelector('#halt').hidden")
    page.until(f"{STATE}.endsWith('stopped')")
    frames = page.run(COUNT)
    assert frames > 2
    assert page.text("#frame-number") == f"{frames} of {frames}"
    page.until("document.querySelector('.answer') !== null")
    page.click("#play")
    # From the first one on, whichever is seen first.
    page.until(f"parseInt(document.querySelector('#frame-number').textContent) < {frames}")
    page.click("#play")
    assert page.errors == []


def test_a_relaxation_ends_by_itself_at_small_forces(page: Page) -> None:
    paste(page, PAIR)
    page.click("#relax")
    page.until(f"{STATE}.includes('relaxed')")
    page.until("document.querySelector('#halt').hidden")
    # Of the last frame, once that is computed.
    page.until("Number(document.querySelectorAll('.figure b')[1]?.textContent) <= 0.01")
    assert page.run(COUNT) > 1


def test_another_structure_ends_the_run_and_is_shown_alone(page: Page) -> None:
    page.click("#run")
    page.until(f"{STATE}.includes(' K · ')")
    paste(page, PAIR)
    page.until("document.querySelector('.formula')?.textContent === 'O2'")
    assert page.run("document.querySelector('#halt').hidden")
    assert page.run(COUNT) == 1
    assert page.run(STATE) == ""


def test_a_run_that_is_refused_says_why(page: Page) -> None:
    page.run("document.querySelector('#charge').value = '1'")
    page.run("document.querySelector('#charge').dispatchEvent(new Event('input'))")
    page.until("document.querySelector('#result .problem') !== null")
    page.click("#run")
    page.until("document.querySelector('#run-problem .problem') !== null")
    assert "charge" in page.text("#run-problem .problem")


def coordinates(page: Page, name: str, value: float, **more: Any) -> list[Any]:
    """Name and moved positions of each coordinate of a molecule of ASE's."""
    atoms = molecule(name)
    structure = {
        **{"numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()},
        **{"pbc": [False] * 3, "cell": None},
        **more,
    }
    call = f"m.coordinatesOf({json.dumps(structure)}).map(c => [c.name, c.positions({value})])"
    found: list[Any] = page.run(f"import('./page/twist.js').then(m => {call})")
    return found


def test_a_torsion_turns_one_side_and_leaves_every_bond_as_it_was(page: Page) -> None:
    atoms = molecule("C2H6")
    ((name, moved),) = coordinates(page, "C2H6", 60.0)
    assert name == "turn about C1–C2"
    turned = atoms.copy()
    turned.positions = np.array(moved)
    assert abs(turned.get_dihedral(2, 0, 1, 5) - atoms.get_dihedral(2, 0, 1, 5)) % 360 in (
        pytest.approx(60.0, abs=1e-6),
        pytest.approx(300.0, abs=1e-6),
    )
    for a, b in ((0, 1), (1, 5), (0, 2)):
        assert turned.get_distance(a, b) == pytest.approx(atoms.get_distance(a, b))


def test_rings_are_not_turned_and_two_molecules_are_pulled_apart(page: Page) -> None:
    assert coordinates(page, "C6H6", 10.0) == []
    water = molecule("H2O")
    above = water.positions + np.array([0.0, 0.0, 3.0])
    pair = [*water.positions.tolist(), *above.tolist()]
    numbers = [*water.numbers.tolist()] * 2
    ((name, moved),) = coordinates(page, "H2O", 1.5, positions=pair, numbers=numbers)
    assert name == "distance of the two"
    shift = np.array(moved) - np.array(pair)
    assert np.allclose(shift[:3], 0.0)
    assert np.allclose(shift[3:], [0, 0, 1.5])


def test_the_slider_moves_what_is_shown_and_tells_the_energy_of_it(page: Page) -> None:
    page.run("[...document.querySelectorAll('#examples button')][1].click()")
    page.until("document.querySelector('.formula')?.textContent === 'C2H6O'")
    page.until("document.querySelector('#scan-told').textContent === '0 °: 0 kcal/mol'")
    page.run("document.querySelector('#scan').value = '120'")
    page.run("document.querySelector('#scan').dispatchEvent(new Event('input'))")
    page.until("document.querySelector('#scan-told').textContent.startsWith('120 °: ')")
    assert not page.text("#scan-told").endswith(": 0 kcal/mol")
    assert page.errors == []
