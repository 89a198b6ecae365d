"""Which versions are served: at the start, and after every change of the repository."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from forcegate_client.errors import ForcegateError, RuntimeUnavailable
from forcegate_service.contract.card import MEASURED, ModelCard
from forcegate_service.contract.errors import ModelAbsent, ModelRefused
from forcegate_service.contract.runtime import RuntimeLoader
from forcegate_service.models.loading import (
    atomic_energies,
    open_version,
    recognise,
    time_evaluation,
    version_folders,
    warm_up_structures,
)
from forcegate_service.models.promotion import Default, Promotion, PromotionRefused, read_promotion
from forcegate_service.models.registry import Policy, Refusal, Registry
from forcegate_service.queue.cost import CostModel
from forcegate_service.queue.dispatcher import Dispatcher
from forcegate_service.queue.microbatch import BatchLimit
from forcegate_service.queue.version import ServedVersion
from forcegate_service.settings import MIB, Settings
from forcegate_service.watch.metrics.metrics import Metrics

__all__ = ["Reloaded", "Serving"]

logger = logging.getLogger(__name__)


class Reloaded(BaseModel):
    """What a look at the repository changed; versions as ``model/version``.

    ``updated`` are the same versions with other measurements, such as new verdicts. ``defaults``
    are models that answer with another version by default, or for another reason. ``keys_refused``
    says why the keys stay in force as they were, if their file cannot be used.
    """

    added: list[str] = []
    removed: list[str] = []
    updated: list[str] = []
    kept: list[str] = []
    refused: dict[str, str] = {}
    defaults: dict[str, str] = {}
    keys_refused: str = ""


class Serving:
    """Keeps the registry in step with the model repository."""

    def __init__(
        self,
        settings: Settings,
        load: RuntimeLoader,
        dispatcher: Dispatcher,
        metrics: Metrics,
        unloaded: Callable[[ModelCard], None] = lambda card: None,
    ) -> None:
        self.registry = Registry(
            Policy(settings.pinned_digests, settings.required_approvals, settings.default_model)
        )
        self._settings = settings
        self._load = load
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._unloaded = unloaded
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> Reloaded:
        """Look at the repository: serve what is new, let go of what is gone, read changed cards.

        Whatever is being answered goes on with the version it began with.

        Raises:
            ModelRefused: if there is no repository, or nothing in it can be served; then all stays
                as it was. ModelAbsent, if that may change by itself.
        """
        async with self._one_at_a_time:
            folders = version_folders(self._settings.model_repository)
            changes = Reloaded()
            refusals: list[Refusal] = []
            opened: list[ServedVersion] = []
            promotions = await asyncio.to_thread(self._promotions, folders)
            before = self._defaults()
            try:
                for folder in folders:
                    opened += await self._consider(folder, changes, refusals)
            finally:
                # At once, so that no version is a default in between that nobody wants as one.
                for served in opened:
                    self.registry.add(served)
                self.registry.promotions = promotions
            self.registry.refused = refusals
            if not (changes.added or changes.updated or changes.kept):
                absent = any(refusal.absent for refusal in refusals)
                raise (ModelAbsent if absent else ModelRefused)(
                    f"{len(folders)} model versions, none of which can be served: "
                    + "; ".join(changes.refused.values()),
                    expected="at least one good version",
                    action="give the inference servers the gateway's model repository"
                    if absent
                    else "export a model, or set --model-repository",
                )
            present = {_name(folder) for folder in folders}
            for served in list(self.registry.served()):
                if served.name not in present:
                    changes.removed.append(served.name)
                    await self._let_go(served)
            self._tell_of_defaults(before, changes)
            return changes

    def _promotions(self, folders: Sequence[Path]) -> dict[str, Promotion | PromotionRefused]:
        """What operators decided; where that cannot be read, it is as it was."""
        found: dict[str, Promotion | PromotionRefused] = {}
        for folder in {folder.parent for folder in folders}:
            try:
                decision = read_promotion(folder)
            except PromotionRefused as error:
                logger.error("the default of %s: %s", folder.name, error)
                found[folder.name] = self.registry.promotions.get(folder.name, error)
            else:
                if decision is not None:
                    found[folder.name] = decision
        return found

    def _defaults(self) -> dict[str, Default]:
        return {model: self.registry.default(model) for model in self.registry.models}

    def _tell_of_defaults(self, before: dict[str, Default], changes: Reloaded) -> None:
        for model, default in self._defaults().items():
            if default == before.get(model):
                continue
            changes.defaults[model] = f"{default.version or 'none'}: {default.reason}"
            doubtful = default.version is None or default.forced
            level = logging.WARNING if doubtful else logging.INFO
            logger.log(level, "default of %s: %s", model, changes.defaults[model])

    async def _consider(
        self, folder: Path, changes: Reloaded, refusals: list[Refusal]
    ) -> list[ServedVersion]:
        """The version in ``folder`` if it is a new one and good; what is known is looked at."""
        name = _name(folder)
        served = self.registry.get(folder.parent.name, folder.name)
        try:
            if served is None:
                opened = await self._open(folder)
                changes.added.append(name)
                return [opened]
            if (card := await asyncio.to_thread(_read_again, folder, served)) is not None:
                # Whoever changes cards may have changed more: is it still the same that answers?
                await self._dispatcher.call(partial(recognise, served.runtime))
                served.card = card
                self._metrics.models.loaded(card)
                changes.updated.append(name)
            else:
                changes.kept.append(name)
        except RuntimeUnavailable:
            # This says nothing about the version.
            raise
        except ForcegateError as error:
            absent = isinstance(error, ModelAbsent)
            refusal = Refusal(folder.parent.name, folder.name, str(error), absent)
            refusals.append(refusal)
            if refusal not in self.registry.refused:
                logger.error("refused %s: %s", name, error)
            changes.refused[name] = str(error)
            if served is not None:
                # Its files are not the ones that it was loaded from; what was loaded was good.
                changes.kept.append(name)
        return []

    async def _open(self, folder: Path) -> ServedVersion:
        started = time.perf_counter()
        on_thread = self._dispatcher.call
        self.registry.policy.require_pinned(await asyncio.to_thread(ModelCard.load, folder))
        runtime = await on_thread(partial(open_version, folder, self._load))
        try:
            await on_thread(partial(recognise, runtime))
            atoms_alone = await on_thread(partial(atomic_energies, runtime))
            # One call for each, so that others' batches run in between.
            timings = [
                await on_thread(partial(time_evaluation, runtime, structures))
                for structures in warm_up_structures(runtime.card)
            ]
        except BaseException:
            await on_thread(runtime.close)
            raise
        cost = CostModel.fitted(timings)
        settings = self._settings
        limit = BatchLimit(
            cost,
            settings.batch_target_s,
            settings.batch_edges,
            settings.max_structure_s,
            lambda: runtime.memory,
            settings.max_structure_mib * MIB,
        )
        self._metrics.serving(runtime.card)
        logger.info(
            "serving %s version %s (%s, ready after %.1f s)",
            runtime.card.name,
            runtime.card.version,
            runtime.card.digest[:19],
            time.perf_counter() - started,
        )
        return ServedVersion(runtime, limit, runtime.card, atoms_alone)

    async def _let_go(self, served: ServedVersion) -> None:
        self.registry.remove(served)
        self._metrics.models.unloaded(served.card)
        await served.unused()
        self._unloaded(served.card)
        await self._dispatcher.call(served.runtime.close)
        logger.info("%s is not served any more", served.name)


def _read_again(folder: Path, served: ServedVersion) -> ModelCard | None:
    """The card in ``folder`` if it has other measurements than the one that is served.

    Raises:
        ModelRefused: if anything else is different.
    """
    card, before = ModelCard.load(folder), served.card
    if card == before:
        return None
    if card.card_digest == before.card_digest:
        return card
    changed = [
        name
        for name in ModelCard.model_fields
        if name not in MEASURED and getattr(card, name) != getattr(before, name)
    ]
    raise ModelRefused(
        f"{served.name} with another {', '.join(changed)} than the version that is served",
        expected=f"card {before.card_digest} with weights {before.digest}; only "
        f"{', '.join(MEASURED)} may change while it is served",
        action="restore the folder; whatever changes an answer gets a new version",
    )


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"
