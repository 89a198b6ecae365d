"""The page for people, in a real browser in front of a real gateway."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from ase.io import read

from forcegate_service.api.access.keyfile import create_key
from forcegate_service.contract.card import MODEL_NAME, ModelCard
from forcegate_service.runtimes.fake import write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import running_gateway
from support.browser import Page, browser

# Needs a browser.
pytestmark = pytest.mark.system

CAFFEINE = """24
caffeine
C -3.225 -0.842 0.000
N -2.156 0.125 0.000
C -2.298 1.487 0.000
N -1.129 2.098 0.000
C -0.218 1.085 0.000
C -0.816 -0.138 0.000
C -0.091 -1.360 0.000
O -0.640 -2.458 0.000
N 1.294 -1.168 0.000
C 2.147 -2.340 0.000
C 1.950 0.081 0.000
O 3.183 0.149 0.000
N 1.149 1.223 0.000
C 1.746 2.546 0.000
H -3.138 -1.456 0.899
H -3.138 -1.456 -0.900
H -4.186 -0.322 0.000
H -3.262 1.979 0.000
H 2.787 -2.314 0.888
H 1.579 -3.274 0.000
H 2.786 -2.314 -0.888
H 1.419 3.085 -0.894
H 2.838 2.500 0.000
H 1.419 3.085 0.894
"""
# How many pixels of the picture have about the colour of arrows, and how many have any.
PIXELS = """(() => {
  const canvas = document.getElementById("canvas");
  const style = getComputedStyle(canvas);
  const hex = style.getPropertyValue("--arrow").trim();
  const arrow = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [arrows, any] = [0, 0];
  for (let k = 0; k < data.length; k += 4) {
    if (data[k + 3] === 0) continue;
    any += 1;
    if (arrow.every((value, c) => Math.abs(data[k + c] - value) < 24)) arrows += 1;
  }
  return {arrows, any};
})()"""
ENERGY = ".answer .figure:first-child b"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two toys with different verdicts, and a version whose weights were changed."""
    folder = tmp_path_factory.mktemp("models")
    write_fake_model(folder, "fake")
    card = write_fake_model(folder, "judged")
    verdicts = {"md": "rejected", "relax": "approved", "screening": "caution"}
    judged = card.model_dump() | {"status": verdicts | {"periodic": "not_validated"}}
    ModelCard.model_validate(judged).save(folder / "judged" / "1")
    write_fake_model(folder, "judged", "2")
    (folder / "judged" / "2" / MODEL_NAME).write_bytes(b"something else")
    return folder


@pytest.fixture(scope="module")
def settings(repository: Path) -> Settings:
    return Settings(model_repository=repository, runtime="fake")


@pytest.fixture(scope="module")
def gateway(settings: Settings) -> Iterator[str]:
    with running_gateway(settings) as url:
        yield url


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def page(window: Page, gateway: str) -> Page:
    """The page with the first answer on it."""
    window.open(f"{gateway}/")
    window.until("document.querySelector('.answer') !== null")
    return window


def paste(page: Page, text: str) -> None:
    """Replace what stands in the box, as pasting does."""
    page.run("document.querySelector('#result').replaceChildren()")
    page.run(f"document.querySelector('#text').value = {json.dumps(text)}")
    page.run("document.querySelector('#text').dispatchEvent(new Event('input'))")


def shown_energy(page: Page) -> float:
    return float(page.text(ENERGY).replace("−", "-"))


def body_of(text: str, folder: Path, model: str) -> dict[str, Any]:
    """What ASE reads of ``text``, as a request."""
    (folder / "file.xyz").write_text(text, encoding="utf-8")
    atoms = read(folder / "file.xyz")
    structure = {"atomic_numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
    return {"model": model, "properties": ["energy", "uncertainty"], "structures": [structure]}


def test_it_loads_without_an_error_and_asks_nobody_but_its_gateway(
    page: Page, gateway: str
) -> None:
    page.until("document.querySelector('#traffic-body .tile b') !== null")
    page.until("document.querySelector('#state').textContent === 'ready'")
    assert page.errors == []
    assert len(page.requested) > 10
    assert {url for url in page.requested if not url.startswith(f"{gateway}/")} == set()


def test_the_energy_that_it_shows_is_the_one_that_the_gateway_gives(
    page: Page, gateway: str, tmp_path: Path
) -> None:
    paste(page, CAFFEINE)
    page.until("document.querySelector('.answer') !== null")
    answer = httpx.post(f"{gateway}/v1/predict", json=body_of(CAFFEINE, tmp_path, "fake")).json()
    assert shown_energy(page) == pytest.approx(answer["results"][0]["energy"], abs=5.1e-5)
    assert page.text(".formula").replace("\n", "") == "C8H10N4O2"
    assert f"{answer['results'][0]['max_novelty']:.3g}" in page.text(".answer .figures")


def test_the_picture_has_a_molecule_and_arrows_which_can_be_left_out(page: Page) -> None:
    page.until(f"{PIXELS}.arrows > 100")
    full = page.run(PIXELS)
    assert full["any"] > 5_000
    page.click("#show-arrows")
    page.until(f"{PIXELS}.arrows === 0")
    page.click("#show-bonds")
    page.until(f"{PIXELS}.any < {full['any'] - 500}")
    assert page.run(PIXELS)["any"] > 2_000


def test_it_is_turned_by_mouse_and_keys_and_can_be_turned_back(page: Page) -> None:
    picture = "document.querySelector('#canvas').toDataURL()"
    page.until(f"{PIXELS}.arrows > 100")
    page.run(
        "document.querySelector('#canvas').scrollIntoView({block: 'center', behavior: 'instant'})"
    )
    start = page.run(picture)
    box = page.run(
        "JSON.parse(JSON.stringify(document.querySelector('#canvas').getBoundingClientRect()))"
    )
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.drag((x, y), (x + 60, y + 20))
    page.until(f"{picture} !== {json.dumps(start)}")
    page.run("document.querySelector('#canvas').focus()")
    for key in ("ArrowLeft", "+"):
        before = page.run(picture)
        page.press(key)
        page.until(f"{picture} !== {json.dumps(before)}")
    page.drag((2, 2), (2, 2))
    page.click("#reset")
    page.until(f"{picture} === {json.dumps(start)}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("2\n\nH 0 0 0\n", ["1 atoms in frame 1", "2, as line 1 says", "add the atoms"]),
        ("1\n\nH 0 zero 0\n", ["“zero” in line 3", "three coordinates in Å"]),
        ("<b>hello</b>", ["“<b>hello</b>” in line 1", "the number of atoms"]),
        ("1\n\nFe 0 0 0\n", ["element_unsupported", "element Fe", "only H, C, N, O, F, S, Cl"]),
        ("2\n\nH 0 0 0\nH 0 0 0.1\n", ["atoms_too_close", "expected", "what to do"]),
        ("1\ncharge=1 Properties=species:S:1:pos:R:3\nH 0 0 0\n", ["charge_unsupported"]),
    ],
)
def test_what_cannot_be_read_or_computed_is_told_in_words(
    page: Page, text: str, words: list[str]
) -> None:
    paste(page, text)
    page.until("document.querySelector('#result .problem') !== null")
    shown = page.text("#result")
    assert [part for part in words if part not in shown] == []


def test_of_several_frames_one_is_chosen(page: Page) -> None:
    paste(page, "1\nfirst\nH 0 0 0\n2\nsecond\nO 0 0 0\nH 0 0 0.97\n\n")
    page.until("document.querySelector('.formula')?.textContent === 'H'")
    assert page.text("#frame-number") == "1 of 2"
    page.run("document.querySelector('#frame').value = '2'")
    page.run("document.querySelector('#frame').dispatchEvent(new Event('input'))")
    page.until("document.querySelector('.formula')?.textContent === 'HO'")
    # A radical: served, with a word on it.
    assert "odd number of electrons" in page.text("#result .warning")


def test_every_example_is_answered_and_the_periodic_one_with_a_pressure(page: Page) -> None:
    names = page.run("[...document.querySelectorAll('#examples button')].map(b => b.textContent)")
    assert {"water", "caffeine"} <= set(names)
    for k, name in enumerate(names):
        page.run("document.querySelector('#result').replaceChildren()")
        page.run(f"document.querySelectorAll('#examples button')[{k}].click()")
        page.until("document.querySelector('.answer') !== null")
        assert ("GPa" in page.text("#result")) == ("periodic" in name), name


def test_each_model_has_its_verdicts_its_card_and_what_was_refused_a_reason(page: Page) -> None:
    page.until("document.querySelectorAll('.model .badge').length === 8")
    badges = page.run(
        "[...document.querySelectorAll('.model:nth-of-type(2) .badge')].map(b => b.className)"
    )
    assert badges == [
        f"badge {use}" for use in ("rejected", "approved", "caution", "not_validated")
    ]
    assert "rejected" in page.text(".model:nth-of-type(2) .badge")
    page.run("document.querySelector('.model').open = true")
    card = page.text(".model .more")
    assert all(word in card for word in ("sha256:", "H C N O F S Cl", "5 Å", "not measured"))
    refused = page.text(".refused")
    assert "judged 2" in refused
    assert "sha256:" in refused


def test_the_numbers_move_under_traffic_and_what_is_not_measured_is_not_zero(
    page: Page, gateway: str
) -> None:
    rate = "parseFloat(document.querySelector('[data-tile=structures] b')?.textContent)"
    page.until(f"{rate} < 3")
    with traffic(gateway):
        page.until(f"{rate} > 5")
        page.until("document.querySelectorAll('[data-tile=structures] path').length > 0")
        page.until("document.querySelector('[data-tile=p95] b')?.textContent.includes('s / ')")
    panels = page.run("[...document.querySelectorAll('.drift .panel')].map(p => p.innerText)")
    assert len(panels) == 4
    assert all("not measured" in panel or "0 %" not in panel for panel in panels), panels
    assert "none" in page.text(".troubles")


@contextmanager
def traffic(url: str) -> Iterator[None]:
    """Somebody who asks for ten structures again and again."""
    stop = threading.Event()
    body = {"model": "fake", "structures": [{"atomic_numbers": [1], "positions": [[0, 0, 0]]}] * 10}

    def ask() -> None:
        with httpx.Client() as client:
            while not stop.wait(0.02):
                client.post(f"{url}/v1/predict", json=body)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window_not_even_on_a_phone(
    window: Page, gateway: str, width: int
) -> None:
    window.open(f"{gateway}/", width=width, height=844)
    window.until("document.querySelector('.answer') !== null")
    window.until("document.querySelector('#traffic-body .tile') !== null")
    assert window.run("document.documentElement.scrollWidth") <= width


def test_it_is_dark_for_those_who_want_it_dark(window: Page, gateway: str) -> None:
    light = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    shades = []
    for dark in (False, True):
        window.open(f"{gateway}/", dark=dark)
        window.until(f"{PIXELS}.arrows > 100")
        shades.append(sum(window.run(light)))
    assert shades[0] > 600
    assert shades[1] < 150


def test_everything_that_is_filled_in_or_pressed_has_a_name(page: Page) -> None:
    page.send("Accessibility.enable")
    tree = page.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "textbox", "slider", "combobox", "checkbox", "link", "image", "region"}
    found = [node for node in tree if not node["ignored"] and node["role"]["value"] in roles]
    assert len(found) > 15
    nameless = [node for node in found if not node.get("name", {}).get("value")]
    assert [node["role"]["value"] for node in nameless] == []


def test_where_keys_are_in_force_it_asks_for_one_and_keeps_it_in_its_tab(
    window: Page, settings: Settings, tmp_path: Path
) -> None:
    key = create_key(tmp_path / "keys.json", "Ada", ["predict"])
    closed = settings.model_copy(update={"keys_file": tmp_path / "keys.json"})
    with running_gateway(closed) as url:
        window.open(f"{url}/")
        window.until("!document.querySelector('#key-panel').hidden")
        give_key(window, key[:-1] + ("a" if key[-1] != "a" else "b"))
        window.until("document.querySelector('#key-problem .problem') !== null")
        assert window.run("sessionStorage.length") == 0
        give_key(window, key)
        window.until("document.querySelector('.answer') !== null")
        window.until("document.querySelector('#traffic-body .tile') !== null")
        assert window.run("document.querySelector('#key-panel').hidden")
        assert window.run("Object.values(sessionStorage)") == [key]
        assert window.run("localStorage.length + document.cookie.length") == 0
        secret = key[-20:]
        assert not [asked for asked in window.requested if secret in asked]
        assert secret not in window.run("document.documentElement.outerHTML")
        window.click("#key-forget")
        window.until("!document.querySelector('#key-panel').hidden")
        assert window.run("sessionStorage.length") == 0


def give_key(page: Page, key: str) -> None:
    page.run(f"document.querySelector('#key').value = {json.dumps(key)}")
    page.run("document.querySelector('#key-form').requestSubmit()")
