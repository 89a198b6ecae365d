"""The gateway tells when it is asked for what its models were not trained on; it never guesses."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from prometheus_client import CollectorRegistry

from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.graph import Graph
from forcegate_service.contract.histograms import FEATURES
from forcegate_service.contract.runtime import ModelOutput, RuntimeLoader
from forcegate_service.predict.forms import JSON
from forcegate_service.predict.gateway import Gateway
from forcegate_service.queue.fair_queue import Tenant
from forcegate_service.runtimes.choose import Runtimes
from forcegate_service.runtimes.fake import load_fake, write_fake_model
from forcegate_service.settings import Settings
from forcegate_service.testing import gateway_client
from forcegate_service.watch.metrics.metrics import Metrics
from forcegate_service.watch.novelty.watch import NoveltyWatch
from forcegate_service.watch.observer import Served
from support.histograms import give_histograms
from support.staged import StagedRuntime, settled

pytestmark = pytest.mark.anyio

TENANT = Tenant("somebody", "somewhere")
VERSION = {"model": "fake", "version": "1"}
LEAST = 20
HOUR = 3600.0
# Nearer than any bin is wide: the same structures fill the same bins.
ROUNDING = 1e-9


def _rattled(names: Sequence[str], copies: int, seed: int = 0) -> list[Atoms]:
    rng = np.random.default_rng(seed)
    found = []
    for atoms in map(molecule, copies * list(names)):
        atoms.positions += rng.normal(0.0, 0.02, atoms.positions.shape)
        found.append(atoms)
    return found


FAMILIAR = _rattled(["CH3CH2OH", "CH4", "CH3OCH3"], copies=10)
STRANGE = _rattled(["HCF3", "CCl4"], copies=20, seed=1)


class Watched:
    """A gateway over the toy model, its metrics, and a clock that stands until it is told."""

    def __init__(self, settings: Settings, load: RuntimeLoader) -> None:
        self.now = 0.0
        self.registry = CollectorRegistry()
        watch = NoveltyWatch(settings, self.registry, lambda: self.now)
        metrics = Metrics(self.registry)
        self.gateway = Gateway(settings, Runtimes(load), metrics, [watch])

    async def ask(self, structures: Sequence[Atoms], version: str = "1") -> None:
        """All of them in one request; the observers have heard of it when this returns."""
        body = {
            "model": "fake",
            "version": version,
            "on_error": "partial",
            "structures": [
                {"atomic_numbers": atoms.numbers.tolist(), "positions": atoms.positions.tolist()}
                for atoms in structures
            ],
        }
        await self.gateway.predict(json.dumps(body).encode(), JSON, JSON, TENANT)
        await settled()

    async def ask_one_by_one(self, structures: Sequence[Atoms]) -> None:
        for atoms in structures:
            await self.ask([atoms])

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"forcegate_{name}", VERSION | labels)

    def psi(self) -> dict[str, float | None]:
        return {feature: self.value("input_psi", feature=feature) for feature in FEATURES}


@asynccontextmanager
async def watched(settings: Settings, load: RuntimeLoader = load_fake) -> AsyncIterator[Watched]:
    found = Watched(settings, load)
    await found.gateway.load_models()
    try:
        yield found
    finally:
        await found.gateway.close()


@pytest.fixture
def settings(repository: Path) -> Settings:
    """The toy was trained on ``FAMILIAR``."""
    give_histograms(repository / "fake" / "1", FAMILIAR)
    return Settings(
        model_repository=repository,
        runtime="fake",
        drift_window_s=HOUR,
        drift_min_structures=LEAST,
    )


async def test_nothing_is_said_while_too_little_was_seen(settings: Settings) -> None:
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one(FAMILIAR[: LEAST - 1])
        assert set(gateway.psi().values()) == {None}
        assert gateway.value("input_window_structures") == LEAST - 1
        assert gateway.value("watched_structures_total") == LEAST - 1
        await gateway.ask([FAMILIAR[LEAST]])
        assert None not in gateway.psi().values()


async def test_traffic_like_the_training_set_has_an_index_of_zero(settings: Settings) -> None:
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one(FAMILIAR)
        for value in gateway.psi().values():
            assert value == pytest.approx(0.0, abs=ROUNDING)
        assert gateway.value("novel_structures_total") <= 1


async def test_other_elements_move_the_index_until_the_window_has_forgotten_them(
    settings: Settings,
) -> None:
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one(FAMILIAR)
        gateway.now += HOUR / 2
        await gateway.ask_one_by_one(STRANGE)
        mixed = gateway.psi()
        assert min(mixed["elements"], mixed["atoms"]) > 0.25
        gateway.now += HOUR * 3 / 4
        await gateway.ask_one_by_one(STRANGE[:LEAST])
        alone = gateway.psi()
        assert alone["elements"] > mixed["elements"]
        gateway.now += HOUR
        assert set(gateway.psi().values()) == {None}
        assert gateway.value("input_window_structures") == 0
        await gateway.ask_one_by_one(FAMILIAR)
        assert gateway.psi()["elements"] == pytest.approx(0.0, abs=ROUNDING)


async def test_structures_beyond_the_training_set_are_counted_as_novel(settings: Settings) -> None:
    tight = molecule("CH3CH2OH")
    tight.positions *= 0.8
    async with watched(settings) as gateway:
        await gateway.ask([tight, FAMILIAR[1]])
        assert gateway.value("novel_structures_total") == 1
        assert gateway.value("watched_structures_total") == 2


async def test_uncertainty_and_novelty_are_told_as_histograms(settings: Settings) -> None:
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one([molecule("CH4"), molecule("H2O")])
        # The toy is sure to 1 meV √(number of atoms).
        expected = 1e-3 / np.sqrt(5) + 1e-3 / np.sqrt(3)
        name = "energy_uncertainty_ev_per_atom"
        assert gateway.value(f"{name}_sum") == pytest.approx(expected)
        assert gateway.value(f"{name}_bucket", le="0.0005") == 1
        assert gateway.value(f"{name}_bucket", le="+Inf") == 2
        assert gateway.value("max_novelty_count") == 2
        assert gateway.value("max_novelty_sum") > 0


async def test_a_card_without_histograms_serves_and_compares_nothing(
    settings: Settings, repository: Path
) -> None:
    write_fake_model(repository, version="2")
    async with watched(settings) as gateway:
        for _ in range(2 * LEAST):
            await gateway.ask([FAMILIAR[0]], version="2")
        second = {"model": "fake", "version": "2"}

        def of_second(name: str) -> float | None:
            return gateway.registry.get_sample_value(f"forcegate_{name}", second)

        assert of_second("watched_structures_total") == 2 * LEAST
        assert of_second("max_novelty_count") == 2 * LEAST
        assert of_second("novel_structures_total") is None
        assert of_second("input_window_structures") is None
        assert "NaN" not in gateway.gateway.metrics.exposition().decode()


async def test_histograms_that_are_added_to_a_card_are_used_after_a_reload(
    settings: Settings, repository: Path
) -> None:
    folder = repository / "fake" / "1"
    ModelCard.load(folder).model_copy(update={"histograms": None}).save(folder)
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one(FAMILIAR)
        give_histograms(folder, FAMILIAR)
        assert (await gateway.gateway.reload()).updated == ["fake/1"]
        await gateway.ask_one_by_one(FAMILIAR)
        assert gateway.psi()["elements"] == pytest.approx(0.0, abs=ROUNDING)
        assert gateway.value("watched_structures_total") == 2 * len(FAMILIAR)


async def test_a_version_that_is_unloaded_takes_its_labels_along(
    settings: Settings, repository: Path
) -> None:
    write_fake_model(repository, version="2")
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one(FAMILIAR)
        await gateway.ask([FAMILIAR[0]], version="2")
        shutil.rmtree(repository / "fake" / "1")
        await gateway.gateway.reload()
        lines = gateway.gateway.metrics.exposition().decode().splitlines()
        named = [line for line in lines if line.startswith("forcegate_") and "version=" in line]
        assert named
        assert not [line for line in named if 'version="1"' in line]


async def test_labels_are_model_version_and_feature_and_nothing_that_a_caller_says(
    settings: Settings,
) -> None:
    registry = CollectorRegistry()
    NoveltyWatch(settings, registry)
    bare = {family.name for family in registry.collect()}
    async with watched(settings) as gateway:
        await gateway.ask_one_by_one(FAMILIAR)
        families = [f for f in gateway.registry.collect() if f.name in bare]
    assert {name for f in families for s in f.samples for name in s.labels} <= {
        *("model", "version", "feature", "le")
    }
    # The names are there from the start.
    assert len(bare) == len(families) == 6


async def test_a_large_request_is_looked_at_in_part_and_evenly(settings: Settings) -> None:
    many = [*([molecule("CH4")] * 1500), *([molecule("H2O")] * 1500)]
    async with watched(settings) as gateway:
        await gateway.ask(many)
        seen = gateway.value("watched_structures_total")
        # To the toy the carbon of methane is crowded, and the oxygen of water less so.
        waters = gateway.value("max_novelty_bucket", le="3.0")
        assert gateway.value("max_novelty_bucket", le="1.75") == 0
    assert 100 < seen <= 256
    assert waters == pytest.approx(seen / 2, rel=0.2)


async def test_a_large_structure_is_looked_at_in_part(settings: Settings) -> None:
    chain = Atoms("H3000", [(1.5 * k, 0.0, 0.0) for k in range(3000)])
    async with watched(settings) as gateway:
        await gateway.ask([chain])
        assert gateway.value("watched_structures_total") == 1


async def test_a_structure_that_failed_is_not_watched_and_those_beside_it_are(
    settings: Settings,
) -> None:
    def spoil(graph: Graph, output: ModelOutput) -> None:
        output.energy[graph.n_atoms == 5] = np.nan

    def load(folder: Path) -> StagedRuntime:
        runtime = StagedRuntime(folder)
        runtime.after = spoil
        return runtime

    async with watched(settings, load) as gateway:
        await gateway.ask([molecule("CH4"), molecule("H2O"), molecule("CH4"), molecule("NH3")])
        assert gateway.value("watched_structures_total") == 2
        assert gateway.value("max_novelty_count") == 2
        await gateway.ask([molecule("CH4")])
        assert gateway.value("watched_structures_total") == 2


async def test_a_request_of_which_nothing_can_be_computed_is_not_watched(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(settings) as gateway:
        await gateway.ask([Atoms("Au"), Atoms("He")])
        assert gateway.value("watched_structures_total") == 0
    assert "NoveltyWatch failed" not in caplog.text


async def test_an_observer_that_fails_breaks_no_prediction(
    settings: Settings, repository: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        def served(self, seen: Served) -> None:
            raise RuntimeError("a defect of an observer")

        def unloaded(self, card: ModelCard) -> None:
            raise RuntimeError("another defect")

        def close(self) -> None:
            """Nothing is kept."""

    write_fake_model(repository, version="2")
    registry = CollectorRegistry()
    watch = NoveltyWatch(settings, registry)
    gateway = Gateway(settings, Runtimes(load_fake), Metrics(registry), [Broken(), watch])
    await gateway.load_models()
    body = {"model": "fake", "structures": [{"atomic_numbers": [1], "positions": [[0, 0, 0]]}]}
    answer = json.loads(await gateway.predict(json.dumps(body).encode(), JSON, JSON, TENANT))
    await settled()
    shutil.rmtree(repository / "fake" / "2")
    changes = await gateway.reload()
    await gateway.close()
    assert answer["results"][0]["energy"] == 0.0
    assert changes.removed == ["fake/2"]
    assert caplog.text.count("Broken failed on an") == 2


async def test_every_gateway_watches(settings: Settings, water: dict[str, object]) -> None:
    async with gateway_client(settings) as client:
        await client.post("/v1/predict", json={"model": "fake", "structures": [water]})
        await settled()
        text = (await client.get("/metrics")).text
    assert 'forcegate_watched_structures_total{model="fake",version="1"} 1.0' in text
    assert "# TYPE forcegate_input_psi gauge" in text
