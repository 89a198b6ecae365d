"""What the page tells of an answer: colours, error bars, verdicts, snippets, reports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import matplotlib.figure
import pytest

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.browser import Page, browser

# Needs a browser.
pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
WATER = "3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
REPORT = """# fake version 1

Judged by **nobody**, with `code`.

| use | verdict |
|---|---|
| `md` | **caution** \\|x\\| |

![parity of forces](parity.png)

- <b>text stays text</b>
"""
# How many pixels are bluish: of water's atoms none is by its element.
BLUISH = """(() => {
  const canvas = document.getElementById("canvas");
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let k = 0; k < data.length; k += 4) count += data[k + 2] - data[k] > 35 ? 1 : 0;
  return count;
})()"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("models")
    write_fake_model(folder, "fake")
    write_fake_model(folder, "ions", interface=2)
    report = folder / "fake" / "1" / "report"
    report.mkdir()
    (report / "report.md").write_text(REPORT, encoding="utf-8")
    matplotlib.figure.Figure(figsize=(3, 2)).savefig(report / "parity.png")
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


def choose(page: Page, selector: str, value: str) -> None:
    page.run(f"document.querySelector('{selector}').value = {json.dumps(value)}")
    page.run(f"document.querySelector('{selector}').dispatchEvent(new Event('change'))")


def paste(page: Page, text: str) -> None:
    page.run("document.querySelector('#result').replaceChildren()")
    page.run(f"document.querySelector('#text').value = {json.dumps(text)}")
    page.run("document.querySelector('#text').dispatchEvent(new Event('input'))")
    page.until("document.querySelector('.answer') !== null")


def test_atoms_are_coloured_by_charge_with_a_legend_where_the_model_knows_charges(
    page: Page,
) -> None:
    disabled = "[...document.querySelectorAll('#colour option')].map(o => o.disabled)"
    assert page.run(disabled) == [False, True, True]
    choose(page, "#model", "ions/1")
    page.until("document.querySelector('.figures').textContent.includes('net charge')")
    assert page.run(disabled) == [False, False, True]
    paste(page, WATER)
    page.run("document.querySelector('#show-arrows').click()")
    choose(page, "#colour", "charge")
    page.until("!document.querySelector('#scale').hidden")
    assert "atomic charge: −" in page.text("#scale")
    # Hydrogens of the toy are positive.
    page.until(f"{BLUISH} > 300")
    choose(page, "#colour", "element")
    page.until("document.querySelector('#scale').hidden")
    page.until(f"{BLUISH} < 50")


def colouring(page: Page, kind: str, result: dict[str, Any]) -> Any:
    call = f"m.colouringOf({json.dumps(kind)}, {json.dumps(result)})"
    return page.run(f"import('./page/colouring.js').then(m => {call})")


def test_a_colour_stands_for_the_same_number_on_both_sides_of_the_legend(page: Page) -> None:
    found = colouring(page, "charge", {"charges": [-0.5, 0.0, 0.5]})
    low, middle, high = found["colours"]
    assert (found["low"], found["high"]) == ("−0.5", "+0.5 e")
    assert (low, high) == ("#c62838", "#2756cc")
    assert middle not in (low, high)
    errors = colouring(page, "error", {"force_uncertainty": [0.0, 0.02, 0.019]})
    assert (errors["low"], errors["high"]) == ("0", "0.02 eV/Å")
    assert len(set(errors["colours"])) == 3
    assert colouring(page, "error", {"charges": [0.0]}) is None


@pytest.mark.parametrize(("novelty", "holds"), [(1.0, True), (3.0, False), (600.0, False)])
def test_verdicts_yield_where_the_structure_is_novel(
    page: Page, novelty: float, holds: bool
) -> None:
    answer = {
        **{"model": "m", "version": "1", "status": {"md": "approved", "relax": "approved"}},
        "timing": {"queue_s": 0, "graph_s": 1e-3, "inference_s": 1e-3},
        "results": [
            {"energy": 1, "energy_uncertainty": 1, "max_novelty": novelty, "forces": [[0, 0, 1]]}
            | {"warnings": []}
        ],
    }
    structure = {"numbers": [1], "positions": [[0, 0, 0]], "cell": None, "pbc": [False] * 3}
    arguments = ", ".join(map(json.dumps, (answer, structure, None, [], False)))
    badges = page.run(
        f"""import('./page/result.js').then(m => [...m.resultBox({arguments})
          .querySelectorAll('.badge')].map(b => b.className))"""
    )
    assert badges == (["badge approved"] * 2 if holds else ["badge"] * 2)


def test_each_snippet_gives_the_page_s_own_energy_as_it_is_copied(
    page: Page, gateway: str, tmp_path: Path
) -> None:
    paste(page, WATER)
    written = page.run("[...document.querySelectorAll('.snippet pre')].map(p => p.textContent)")
    shown = float(page.text(".answer .figure:first-child b").replace("−", "-"))
    python, curl, shell = written
    assert f"{shown:.3f}"[:-1] in told([sys.executable, "-c", python], tmp_path)
    answer = json.loads(told(["bash", "-c", curl], tmp_path))
    assert answer["results"][0]["energy"] == pytest.approx(shown, abs=5.1e-5)
    assert f"{shown:.3f}"[:-1] in told(["bash", "-c", shell], tmp_path)


def told(command: list[str], folder: Path) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=os.environ | {"PATH": path}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_structure_with_a_cell_and_a_charge_is_written_out_whole(
    page: Page, tmp_path: Path
) -> None:
    structure = {
        **{"numbers": [6, 8], "positions": [[0, 0, 0], [0, 0, 1.2]], "charge": -1},
        **{"cell": [[9, 0, 0], [0, 9, 0], [0, 0, 9]], "pbc": [True, True, False]},
    }
    which = {"model": "m", "version": "1"}
    arguments = f"{json.dumps(which)}, {json.dumps(structure)}, true"
    texts = page.run(
        f"""import('./page/snippet.js').then(m => [...m.snippetBox({arguments})
          .querySelectorAll('pre')].map(p => p.textContent))"""
    )
    python = texts[0].partition("atoms.calc")[0]
    program = f"{python}\nprint(atoms.pbc, atoms.cell.lengths(), atoms.info)"
    assert "[ True  True False] [9. 9. 9.] {'charge': -1}" in told(
        [sys.executable, "-c", program], tmp_path
    )
    assert "$FORCEGATE_API_KEY" in texts[1]
    assert 'Lattice="9 0 0 0 9 0 0 0 9" pbc="T T F"' in texts[2]
    assert "charge=-1" in texts[2]


def test_a_report_is_read_with_its_tables_and_plots_when_it_is_opened(
    page: Page, gateway: str
) -> None:
    page.until("document.querySelector('.model .report') !== null")
    assert not [url for url in page.requested if "/v1/models/fake/report" in url]
    page.run("document.querySelector('.model').open = true")
    page.run("document.querySelector('.model .report').open = true")
    page.until("document.querySelector('.prose td code') !== null")
    assert page.text(".prose td:last-child") == "caution |x|"
    assert page.text(".prose li") == "<b>text stays text</b>"
    page.run("document.querySelector('.plot').scrollIntoView({behavior: 'instant'})")
    page.until("document.querySelector('.plot').width === 300")
    assert page.run("document.querySelector('.plot').ariaLabel") == "parity of forces"
    httpx.get(f"{gateway}/v1/models/fake/report/report.md").raise_for_status()
    assert page.errors == []
