"""Requests that are prepared together come out as if each had been alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from hypothesis import given, settings
from hypothesis import strategies as st

from forcegate_client.errors import ForcegateError, TooManyRequests
from forcegate_client.messages import PredictRequest
from forcegate_client.structures import StructureBatch
from forcegate_service.contract.card import ModelCard
from forcegate_service.predict.prepare import Preparation, Prepared
from forcegate_service.predict.together import JointPreparation
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.microbatch import BatchLimit, Microbatch
from forcegate_service.queue.version import ServedVersion
from forcegate_service.runtimes.fake import FakeRuntime, load_fake, write_fake_model
from forcegate_service.settings import Settings

Outcome = Prepared | ForcegateError
LIMITS = Settings()


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> FakeRuntime:
    folder = tmp_path_factory.mktemp("models")
    card: ModelCard = write_fake_model(folder)
    return load_fake(folder / card.name / card.version)


def _arrays(microbatch: Microbatch) -> list[np.ndarray]:
    return list(vars(microbatch.structures).values())


def _version(runtime: FakeRuntime) -> ServedVersion:
    return ServedVersion(
        runtime, BatchLimit(CostModel(1e-4, 1e-5, 1e-6), 0.05, 10**6), runtime.card, np.zeros(119)
    )


def _charged() -> Atoms:
    atoms = molecule("NH3")
    atoms.info["charge"] = 1
    return atoms


def _too_close() -> Atoms:
    return Atoms("CH2", [[0.0, 0.0, 0.0], [0.01, 0.0, 0.0], [0.0, 1.1, 0.0]])


GOOD = [molecule(name) for name in ("H2O", "CH4", "C6H6", "CH3CH2OH", "C2F4")]
# An odd number of electrons, no hydrogen at all, far away, a single atom.
REMARKABLE = [
    Atoms("CH3", molecule("CH3").positions),
    Atoms("C3", np.eye(3) * 1.4),
    Atoms("N2", [[0, 0, 0], [0, 0, 99]]),
]
BAD = [
    _charged(),
    _too_close(),
    Atoms("Fe", [[0.0, 0.0, 0.0]]),
    Atoms("CH", [[0.0, 0.0, np.nan], [0.0, 0.0, 1.0]]),
]


def _request(
    structures: Sequence[Atoms],
    properties: tuple[str, ...] = ("energy", "forces"),
    on_error: str = "raise",
) -> PredictRequest:
    return PredictRequest(
        structures=StructureBatch.from_atoms(structures),
        model="fake",
        properties=properties,
        on_error=on_error,  # type: ignore[arg-type]
    )


def _alone(request: PredictRequest, version: ServedVersion, limits: Settings = LIMITS) -> Prepared:
    return Preparation(request, version.card, version.limit, limits, {}).completed()


def _together(
    requests: Sequence[PredictRequest], version: ServedVersion, limits: Settings = LIMITS
) -> tuple[list[Outcome], int]:
    """What becomes of ``requests`` that arrive at once, and how many were prepared alone."""
    lonely = 0

    def alone(request: PredictRequest) -> Prepared:
        nonlocal lonely
        lonely += 1
        return _alone(request, version, limits)

    async def ask() -> list[Outcome]:
        joint = JointPreparation(limits)
        asked = (joint.prepare(request, version, partial(alone, request)) for request in requests)
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        for outcome in outcomes:
            if not isinstance(outcome, Prepared | ForcegateError):
                raise outcome
        return outcomes  # type: ignore[return-value]

    return asyncio.run(ask()), lonely


def _heard(prepared: Prepared) -> None:
    """Nothing stands against it."""


def _assert_alike(mine: Outcome, expected: Outcome) -> None:
    if isinstance(expected, ForcegateError):
        assert isinstance(mine, ForcegateError)
        assert mine.to_problem() == expected.to_problem()
        return
    assert isinstance(mine, Prepared)
    assert mine.request is expected.request
    assert np.array_equal(mine.index, expected.index)
    assert mine.warnings == expected.warnings
    assert {b: error.to_problem() for b, error in mine.problems.items()} == {
        b: error.to_problem() for b, error in expected.problems.items()
    }
    assert [(p.share, p.seconds) for p in mine.microbatches] == [
        (p.share, p.seconds) for p in expected.microbatches
    ]
    for microbatch, other in zip(mine.microbatches, expected.microbatches, strict=True):
        for array, wanted in zip(*map(_arrays, (microbatch, other)), strict=True):
            assert array.dtype == wanted.dtype
            assert np.array_equal(array, wanted)
            assert array.flags.c_contiguous


def _outcome(request: PredictRequest, version: ServedVersion, limits: Settings = LIMITS) -> Outcome:
    try:
        return _alone(request, version, limits)
    except ForcegateError as error:
        return error


structures = st.lists(st.sampled_from(GOOD + REMARKABLE + BAD), max_size=4)
requests = st.builds(
    _request,
    structures,
    st.sampled_from([("energy",), ("forces", "uncertainty"), ("stress",), ("charm",), ()]),
    st.sampled_from(["raise", "partial"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(requests, min_size=1, max_size=6))
def test_company_changes_nothing(runtime: FakeRuntime, asked: list[PredictRequest]) -> None:
    version = _version(runtime)
    found, _ = _together(asked, version)
    for request, outcome in zip(asked, found, strict=True):
        _assert_alike(outcome, _outcome(request, version))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(GOOD + REMARKABLE), min_size=1, max_size=4),
        min_size=2,
        max_size=12,
    )
)
def test_good_requests_are_prepared_together(
    runtime: FakeRuntime, asked: list[list[Atoms]]
) -> None:
    version = _version(runtime)
    every = [_request(one) for one in asked]
    found, lonely = _together(every, version)
    assert not lonely
    for request, outcome in zip(every, found, strict=True):
        _assert_alike(outcome, _alone(request, version))


def test_a_request_that_was_given_up_is_left_out(runtime: FakeRuntime) -> None:
    version = _version(runtime)

    async def ask() -> list[object]:
        joint = JointPreparation(LIMITS)
        first, gone, last = (
            asyncio.ensure_future(
                joint.prepare(_request([atoms]), version, partial(pytest.fail, "prepared alone"))
            )
            for atoms in GOOD[:3]
        )
        await asyncio.sleep(0)
        gone.cancel()
        return await asyncio.gather(first, gone, last, return_exceptions=True)

    first, gone, last = asyncio.run(ask())
    assert isinstance(gone, asyncio.CancelledError)
    assert isinstance(first, Prepared)
    assert isinstance(last, Prepared)


@pytest.mark.parametrize("limit", ["max_edges", "max_atoms", "max_structures"])
def test_company_lifts_no_limit(runtime: FakeRuntime, limit: str) -> None:
    version, limits = _version(runtime), LIMITS.model_copy(update={limit: 5})
    asked = [_request([molecule("H2O")] * count) for count in (1, 6, 1)]
    found, _ = _together(asked, version, limits)
    expected = [_outcome(request, version, limits) for request in asked]
    assert isinstance(expected[1], ForcegateError)
    for mine, wanted in zip(found, expected, strict=True):
        _assert_alike(mine, wanted)


@pytest.mark.parametrize(("busy", "handed_over"), [(False, [8, 16]), (True, [])])
def test_inference_that_has_nothing_to_do_gets_the_first_few_at_once(
    runtime: FakeRuntime, busy: bool, handed_over: list[int]
) -> None:
    version = _version(runtime)
    told: list[Prepared] = []
    early: list[int] = []

    async def ask() -> list[Prepared]:
        joint = JointPreparation(LIMITS, lambda: not busy, lambda: early.append(len(told)))
        asked = [
            joint.prepare(
                _request([GOOD[k % len(GOOD)]]),
                version,
                partial(pytest.fail, "prepared alone"),
                told.append,
            )
            for k in range(20)
        ]
        return await asyncio.gather(*asked)

    prepared = asyncio.run(ask())
    # Those that are left at the end of the turn follow as ever.
    assert early == handed_over
    assert told == prepared


def test_who_cannot_be_admitted_hears_of_it_and_the_others_go_on(runtime: FakeRuntime) -> None:
    version = _version(runtime)

    def refuse(prepared: Prepared) -> None:
        raise TooManyRequests("work", expected="less", action="wait", retry_after_s=1.0)

    async def ask() -> list[object]:
        joint = JointPreparation(LIMITS)
        asked = [
            joint.prepare(_request([atoms]), version, partial(pytest.fail, "alone"), ready)
            for atoms, ready in zip(GOOD[:3], (_heard, refuse, _heard), strict=True)
        ]
        return await asyncio.gather(*asked, return_exceptions=True)

    first, refused, last = asyncio.run(ask())
    assert isinstance(refused, TooManyRequests)
    assert isinstance(first, Prepared)
    assert isinstance(last, Prepared)
