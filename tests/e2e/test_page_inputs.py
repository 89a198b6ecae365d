"""What can be given to the page: SMILES, files of chemists, trajectories, and a net charge."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import write
from ase.io.trajectory import Trajectory

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.browser import Page, browser

# Needs a browser.
pytestmark = pytest.mark.system

FORMULA = "document.querySelector('.answer .formula')?.textContent"
AMMONIUM = """ammonium


  5  4  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 N   0  3
    0.6000    0.6000    0.6000 H   0  0
   -0.6000   -0.6000    0.6000 H   0  0
   -0.6000    0.6000   -0.6000 H   0  0
    0.6000   -0.6000   -0.6000 H   0  0
  1  2  1  0
  1  3  1  0
  1  4  1  0
  1  5  1  0
M  CHG  1   1   1
M  END
"""


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


def drop(page: Page, name: str, content: bytes) -> None:
    """Let go of a file over the page, as the mouse does."""
    page.run("document.querySelector('#result').replaceChildren()")
    encoded = json.dumps(base64.b64encode(content).decode())
    page.run(
        f"""(() => {{
          const bytes = Uint8Array.from(atob({encoded}), (c) => c.charCodeAt(0));
          const dataTransfer = new DataTransfer();
          dataTransfer.items.add(new File([bytes], {json.dumps(name)}));
          document.querySelector("#try").dispatchEvent(
            new DragEvent("drop", {{dataTransfer, bubbles: true, cancelable: true}}));
        }})()"""
    )


def test_a_smiles_becomes_a_molecule_with_its_hydrogens(page: Page) -> None:
    paste(page, "CCO")
    page.until(f"{FORMULA} === 'C2H6O'")
    assert page.errors == []


def test_a_smiles_that_is_none_is_told_in_words(page: Page) -> None:
    paste(page, "C1CC(")
    page.until("document.querySelector('#result .problem') !== null")
    assert "C1CC(" in page.text("#result .problem")


def test_the_charge_of_a_file_is_shown_and_asked_about(page: Page) -> None:
    paste(page, AMMONIUM)
    # The toy knows no ions, and thereby shows that it was asked about one.
    page.until("document.querySelector('#result .problem code')?.textContent")
    assert page.text("#result .problem code") == "charge_unsupported"
    assert page.run("document.querySelector('#charge').value") == "1"
    assert page.text("#charge-from") == "from the input"
    page.run("document.querySelector('#charge').value = '0'")
    page.run("document.querySelector('#charge').dispatchEvent(new Event('input'))")
    page.until(f"{FORMULA} === 'H4N'")


@pytest.mark.parametrize(("name", "format"), [("a.pdb", "proteindatabank"), ("a.cif", "cif")])
def test_files_of_crystals_keep_their_cell(page: Page, name: str, format: str) -> None:
    crystal = bulk("C", "diamond", a=3.57, cubic=True)
    stream = io.BytesIO() if format == "cif" else io.StringIO()
    write(stream, crystal, format=format)
    content = stream.getvalue()
    drop(page, name, content if isinstance(content, bytes) else content.encode())
    page.until(f"{FORMULA} === 'C8'")
    assert "in a cell" in page.run("document.querySelector('#canvas').ariaLabel")
    assert page.text("#file-name") == name


def test_a_trajectory_is_played_frame_by_frame(page: Page, gateway: str, tmp_path: Path) -> None:
    def stretched(k: int) -> Atoms:
        return Atoms("OH", [[0, 0, 0], [0, 0, 0.9 + 0.05 * k]])

    frames = [stretched(k) for k in range(8)]
    with Trajectory(tmp_path / "run.traj", "w") as trajectory:
        for atoms in frames:
            trajectory.write(atoms)
    drop(page, "run.traj", (tmp_path / "run.traj").read_bytes())
    page.until("document.querySelector('#frame-number').textContent === '1 of 8'")
    page.until(f"{FORMULA} === 'HO'")
    page.click("#play")
    page.until("document.querySelector('#frame-number').textContent === '8 of 8'")
    page.until("document.querySelector('#play').textContent === 'Play'")
    last = {"atomic_numbers": [8, 1], "positions": frames[-1].positions.tolist()}
    body = {"model": "fake", "properties": ["energy"], "structures": [last]}
    energy = httpx.post(f"{gateway}/v1/predict", json=body).json()["results"][0]["energy"]
    shown = f"{energy:.4f}".replace("-", "−")
    page.until(f"document.querySelector('.figure b')?.textContent === '{shown}'")


def test_records_without_a_structure_are_named_beside_the_others(page: Page) -> None:
    paste(page, "O water\nnonsense(\n")
    page.until(f"{FORMULA} === 'H2O'")
    assert "record 2" in page.text("#result .warning")
