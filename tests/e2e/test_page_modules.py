"""What the page's modules read and reckon, run where they run: in the browser."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols, covalent_radii
from ase.io import write
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.browser import Page, browser

# Needs a browser.
pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("modules")
    write_fake_model(folder / "models")
    (folder / "profile").mkdir()
    settings = Settings(model_repository=folder / "models", runtime="fake")
    with running_gateway(settings) as url, browser(folder / "profile") as window:
        window.open(f"{url}/")
        yield window


def call(page: Page, module: str, body: str, *arguments: object) -> Any:
    """What ``body`` makes of the module ``m`` and its arguments ``a``, as JSON has it."""
    given = json.dumps(arguments)
    return page.run(f"import('./page/{module}.js').then(m => {{ const a = {given}; {body} }})")


def frame(page: Page, text: str, index: int = 0) -> dict[str, Any]:
    read: dict[str, Any] = call(
        page, "xyz", "return m.readFrame(m.frames(a[0]), a[1]);", text, index
    )
    return read


def refusal(page: Page, text: str) -> dict[str, str]:
    body = """try { m.readFrame(m.frames(a[0]), 0); } catch (error) {
        return {received: error.received, expected: error.expected, action: error.action}; }"""
    refused: dict[str, str] = call(page, "xyz", body, text)
    return refused


@pytest.mark.parametrize("form", ["xyz", "extxyz"])
@pytest.mark.parametrize("name", ["H2O", "CH3CH2OH", "C60"])
def test_what_ase_writes_is_read_as_it_was(
    page: Page, tmp_path: Path, name: str, form: str
) -> None:
    atoms = molecule(name)
    write(tmp_path / "file", atoms, format=form)
    read = frame(page, (tmp_path / "file").read_text())
    assert read["numbers"] == atoms.numbers.tolist()
    assert read["positions"] == pytest.approx(atoms.positions, abs=1e-7)
    assert (read["cell"], read["pbc"]) == (None, [False] * 3)


def test_a_lattice_its_periodicity_and_other_columns_are_read(page: Page, tmp_path: Path) -> None:
    atoms: Atoms = bulk("C", cubic=True)
    atoms.pbc = (True, False, True)
    atoms.set_array("spin", atoms.positions + 1.0)
    atoms.info |= {"charge": -1, "note": "two words", "energy": -3.0}
    write(tmp_path / "file", atoms, format="extxyz", columns=["spin", "symbols", "positions"])
    read = frame(page, (tmp_path / "file").read_text())
    assert read["cell"] == atoms.cell.tolist()
    assert read["pbc"] == [True, False, True]
    assert read["positions"] == pytest.approx(atoms.positions, abs=1e-7)
    assert read["charge"] == -1


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2\r\n\r\nO 0 0 0\r\nH 0 0 1\r\n", [8, 1]),
        ("\ufeff1\n\n8 0 0 0", [8]),
        ("  1 \n\n cl -1e-1 +2.5D+00 .5  0.1 extra\n\n\n", [17]),
        ("O 0 0 0\nH 0 0 1\n", [8, 1]),
        ('1\nLattice="3 0 0 0 3 0 0 0 3"\nC 0 0 0\n', [6]),
    ],
)
def test_the_forms_that_programs_write_are_read(page: Page, text: str, numbers: list[int]) -> None:
    assert frame(page, text)["numbers"] == numbers


@pytest.mark.parametrize(
    ("text", "received"),
    [
        (" \n", "an empty text"),
        ("data_block\n", "“data_block” in line 1"),
        ("3\n\nH 0 0 0\nH 0 0 1\n", "2 atoms in frame 1"),
        ("1\n\nH 0 0 0\nH 0 0 1\n", "“H 0 0 1” in line 4"),
        ("1\n\nXx 0 0 0\n", "“Xx” in line 3"),
        ("1\n\nX 0 0 0\n", "“X” in line 3"),
        ("1\n\n119 0 0 0\n", "“119” in line 3"),
        ("1\n\nH nan 0 0\n", "“nan” in line 3"),
        ("1\n\nH 0 0\n", "2 coordinates in line 3"),
        ('1\nLattice="1 0 0"\nH 0 0 0\n', "Lattice"),
        ('1\npbc="T F"\nH 0 0 0\n', "pbc"),
        ("1\ncharge=half\nH 0 0 0\n", "charge=half"),
        ("1\nProperties=species:S:1\nH 0 0 0\n", "Properties"),
    ],
)
def test_what_is_wrong_with_a_text_is_told_with_its_line(
    page: Page, text: str, received: str
) -> None:
    told = refusal(page, text)
    assert received in told["received"]
    assert told["expected"]
    assert told["action"]


def test_elements_are_those_of_ase(page: Page) -> None:
    numbers = list(range(1, len(chemical_symbols)))
    body = "return a[0].map(n => [m.symbolOf(n), m.numberOf(m.symbolOf(n)), m.radiusOf(n)]);"
    read = call(page, "elements", body, numbers)
    assert [symbol for symbol, _, _ in read] == chemical_symbols[1:]
    assert [number for _, number, _ in read] == numbers
    assert [radius for _, _, radius in read[:54]] == pytest.approx(covalent_radii[1:55])


@pytest.mark.parametrize(
    ("name", "count"), [("H2O", 2), ("CH3CH2OH", 8), ("C6H6", 12), ("C60", 90)]
)
def test_bonds_are_those_of_a_chemist(page: Page, name: str, count: int) -> None:
    atoms = molecule(name)
    body = "return m.bonds(a[0], a[1]);"
    pairs = call(page, "bonds", body, atoms.numbers.tolist(), atoms.positions.tolist())
    assert len(pairs) == len({tuple(pair) for pair in pairs}) == count
    assert all(first < second for first, second in pairs)


def exposition() -> str:
    registry = CollectorRegistry()
    counter = Counter("things_total", "Odd \\ things.", ["name"], registry=registry)
    counter.labels('a "quoted", {x}=1\nand\\so on').inc(3)
    counter.labels("b").inc(4)
    Counter("never_total", "Announced.", ["name"], registry=registry)
    Gauge("unknown", "Announced.", ["name"], registry=registry)
    Gauge("nothing", "Not a number.", registry=registry).set(float("nan"))
    Gauge("level", "A number.", registry=registry).set(-2.5e-7)
    return generate_latest(registry).decode()


def test_the_library_s_own_text_is_read_whatever_stands_in_labels(page: Page) -> None:
    body = "return m.parse(a[0]).get('things_total');"
    family = call(page, "exposition", body, exposition())
    assert family["type"] == "counter"
    assert [sample["value"] for sample in family["samples"]] == [3, 4]
    assert family["samples"][0]["labels"] == {"name": 'a "quoted", {x}=1\nand\\so on'}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("things_total", 7),
        ("level", -2.5e-7),
        # A counter that was announced has counted nothing.
        ("never_total", 0),
        # Of these nothing is known, and unknown is not zero.
        ("unknown", None),
        ("nothing", None),
        ("absent_total", None),
    ],
)
def test_what_is_not_known_is_not_zero(page: Page, name: str, value: float | None) -> None:
    body = "return m.total(m.parse(a[0]), a[1]);"
    assert call(page, "exposition", body, exposition(), name) == value


def test_quantiles_are_of_what_came_between_two_looks(page: Page) -> None:
    registry = CollectorRegistry()
    timed = Histogram("t", "Times.", ["phase"], buckets=(1, 2, 4, 8), registry=registry)
    texts = []
    for values in ((0.5,) * 100, (1.5,) * 50 + (3.0,) * 50, (100.0,) * 900):
        for value in values:
            timed.labels("x").observe(value)
        timed.labels("y").observe(7.0)
        texts.append(generate_latest(registry).decode())
    body = """return import('./page/exposition.js').then(({parse}) => {
        const all = a[0].map((text) => m.buckets(parse(text), "t", (l) => l.phase === "x"));
        const of = (k, q) => m.quantile(m.since(all[k], all[k - 1]), q);
        return [of(1, 0.25), of(1, 0.5), of(1, 0.75), of(2, 0.5), m.quantile([], 0.5),
                m.quantile(m.since(all[1], all[1]), 0.5), m.quantile(m.since(all[0], all[1]), 0.5)];
    });"""
    quarter, half, most, beyond, none, quiet, restarted = call(page, "histogram", body, texts)
    # Linear within a bucket: a quarter is halfway through the one from 1 to 2.
    assert (quarter, half, most) == (1.5, 2, 3)
    # Beyond the last bound no more is known than that bound.
    assert beyond == 8
    assert none is quiet is None
    assert restarted == 0.5


def looks(page: Page, texts: list[str], expression: str) -> Any:
    """``expression`` of a history ``h`` of ``texts`` ten seconds apart."""
    body = f"const h = new m.History(); a[0].forEach((t, k) => h.add(t, 10 * k)); {expression}"
    return call(page, "traffic", body, texts)


def test_rates_are_per_second_and_survive_a_restart_of_the_server(page: Page) -> None:
    def text(count: int) -> str:
        return f"# TYPE forcegate_structures_total counter\nforcegate_structures_total {count}\n"

    rate = "return h.now().structures;"
    assert looks(page, [text(100), text(150)], rate) == 5
    assert looks(page, [text(100), text(20)], rate) == 2
    assert looks(page, [text(100)], rate) is None
    assert looks(page, ["", ""], rate) is None


DRIFT = """# TYPE forcegate_input_psi gauge
forcegate_input_psi{model="m",version="1",feature="atoms"} 0.31
forcegate_input_psi{model="m",version="1",feature="elements"} NaN
# TYPE forcegate_shadow_force_rmse_ev_per_angstrom gauge
forcegate_shadow_force_rmse_ev_per_angstrom{model="m",version="1"} 0.12
# TYPE forcegate_shadow_force_rmse_expected_ev_per_angstrom gauge
forcegate_shadow_force_rmse_expected_ev_per_angstrom{model="m",version="1"} 0.08
# TYPE forcegate_md_drift_mev_per_atom_per_ps gauge
forcegate_md_drift_mev_per_atom_per_ps{model="m",version="1"} 0.004
# TYPE forcegate_md_blow_ups_total counter
forcegate_md_blow_ups_total{model="m",version="1"} 2
# TYPE forcegate_watched_structures_total counter
forcegate_watched_structures_total{model="m",version="1"} 200
# TYPE forcegate_novel_structures_total counter
forcegate_novel_structures_total{model="m",version="1"} 10
"""


def drift(page: Page, text: str) -> list[str]:
    show = """return import('./page/live.js').then(({driftView}) => {
        const view = driftView(h); document.body.append(view);
        const panels = [...view.querySelectorAll(".panel")].map((panel) => panel.innerText);
        view.remove(); return panels; });"""
    shown: list[str] = looks(page, [text], show)
    return shown


def test_drift_is_shown_where_it_is_measured(page: Page) -> None:
    stability, novelty, shadow, dynamics = drift(page, DRIFT)
    assert "0.31 is another population" in stability
    assert "elements" not in stability
    assert "5 %" in novelty
    assert "0.12 eV/Å, expected 0.08" in shadow
    assert "0.004 meV/atom/ps" in dynamics
    assert "runs that blew up\n2" in dynamics


def test_the_inputs_of_a_few_are_no_population_yet(page: Page) -> None:
    window = 'forcegate_input_window_structures{model="m",version="1"} %d\n'
    kind = "# TYPE forcegate_input_window_structures gauge\n"
    assert "waits for 1,000 structures, has 999" in drift(page, DRIFT + kind + window % 999)[0]
    assert "another population" not in drift(page, DRIFT + kind + window % 999)[0]
    assert "0.31 is another population" in drift(page, DRIFT + kind + window % 1000)[0]


def test_drift_that_is_not_measured_is_said_to_be_so(page: Page) -> None:
    announced = "\n".join(line for line in DRIFT.splitlines() if line.startswith("#")) + "\n"
    for text in ("", announced.replace("forcegate_md_blow_ups_total", "other_total")):
        for panel in drift(page, text):
            assert "not measured" in panel
            assert "0" not in panel
