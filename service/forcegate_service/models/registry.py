"""The versions that are served, those that were refused, and which one a request means."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from operator import is_

from forcegate_client.errors import Forbidden, ModelNotFound, UnprocessableRequest
from forcegate_service.contract.card import ModelCard
from forcegate_service.contract.errors import ModelRefused
from forcegate_service.models.promotion import Default, Promotion, PromotionRefused, choose_default
from forcegate_service.queue.version import ServedVersion

__all__ = ["DEFAULT_ALIAS", "Policy", "Refusal", "Registry"]

logger = logging.getLogger(__name__)

DEFAULT_ALIAS = "default"


@dataclass(frozen=True)
class Policy:
    """What an operator lets through.

    ``digests`` by ``model/version``: if there are any, nothing else is served, and these only with
    that card or those weights. ``approvals`` are uses that a version must be approved for.
    ``default_model`` is what the alias ``default`` means.
    """

    digests: Mapping[str, str] = field(default_factory=dict)
    approvals: frozenset[str] = frozenset()
    default_model: str | None = None

    def require_pinned(self, card: ModelCard) -> None:
        """Refuse what is not among the pinned versions.

        A pin is the digest of a card, which covers the weights too, or that of the weights alone.

        Raises:
            ModelRefused: saying which digest was expected.
        """
        if not self.digests:
            return
        name = f"{card.name}/{card.version}"
        expected = self.digests.get(name)
        if expected not in (card.card_digest, card.digest):
            raise ModelRefused(
                f"{name}={card.card_digest} (weights {card.digest})",
                expected=f"{name}={expected or 'a pinned digest'}",
                action="restore the pinned version, or change FORCEGATE_MODEL_DIGESTS",
                code="model_not_pinned",
            )
        if expected == card.digest:
            logger.warning(
                "FORCEGATE_MODEL_DIGESTS pins the weights of %s alone; its card_digest, which "
                "GET /v1/models shows, pins cutoff, elements and limits as well: %s=%s",
                *(name, name, card.card_digest),
            )

    def require_approved(self, card: ModelCard) -> None:
        """Refuse to answer with a version that is not approved for all uses that must be.

        Raises:
            Forbidden: naming the uses.
        """
        missing = {
            use: card.status.get(use, "not_validated")
            for use in sorted(self.approvals)
            if card.status.get(use) != "approved"
        }
        if missing:
            raise Forbidden(
                f"model {card.name} version {card.version}, which is "
                + ", ".join(f"{status} for {use}" for use, status in missing.items()),
                expected="a version that is approved for " + ", ".join(sorted(self.approvals)),
                action="GET /v1/models shows the status of each; the operator of this server "
                "requires approval",
                code="model_not_approved",
            )


@dataclass(frozen=True)
class Refusal:
    """A version that is not served, and why; ``absent``: no inference server has it yet."""

    model: str
    version: str
    reason: str
    absent: bool = False


class Registry:
    """Versions by model; ``promotions`` are what operators decided about their defaults."""

    def __init__(self, policy: Policy | None = None) -> None:
        self.policy = policy or Policy()
        self.promotions: Mapping[str, Promotion | PromotionRefused] = {}
        self.models: dict[str, dict[str, ServedVersion]] = {}
        self.refused: list[Refusal] = []
        self._chosen: dict[str, tuple[tuple[object, ...], Default]] = {}

    def add(self, served: ServedVersion) -> None:
        """Serve one more version."""
        versions = self.models.setdefault(served.card.name, {})
        versions[served.card.version] = served
        self.models[served.card.name] = dict(sorted(versions.items(), key=_number))

    def remove(self, served: ServedVersion) -> None:
        """Serve one version less; what it is working on is not affected."""
        versions = self.models[served.card.name]
        del versions[served.card.version]
        if not versions:
            del self.models[served.card.name]

    def get(self, model: str, version: str) -> ServedVersion | None:
        """That very version, if it is served."""
        return self.models.get(model, {}).get(version)

    def partner(self, card: ModelCard) -> ServedVersion:
        """The version with which the forces of another are compared.

        Raises:
            UnprocessableRequest: if it has none, or it is not served, or not the one it was.
        """
        named = card.force_partner
        found = None if named is None else self.get(named.name, named.version)
        if named is None or found is None or found.card.digest != named.digest:
            lack = (
                "which has no calibrated partner"
                if named is None
                else f"whose partner {named.name} {named.version} is not there as it was"
            )
            raise UnprocessableRequest(
                f"property 'force_uncertainty' of {card.name} {card.version}, {lack}",
                expected="a model with a partner, and that partner beside it",
                action="leave force_uncertainty out, or serve both",
                code="property_unsupported",
            )
        return found

    def find(self, model: str, version: str | None = None) -> ServedVersion:
        """What a request for ``model`` means: its default version unless one is named.

        Raises:
            ModelNotFound: if there is no such model or version.
        """
        name = self._meant(model) if model == DEFAULT_ALIAS else model
        versions = self.models.get(name)
        if versions is None:
            raise ModelNotFound(
                f"model {model[:80]!r}",
                expected=f"one of {', '.join(sorted(self.models))}",
                action=self._advice(),
            )
        if version is None:
            return versions[self._default_version(name)]
        if version not in versions:
            raise ModelNotFound(
                f"version {version[:80]!r} of model {model[:80]!r}",
                expected=f"one of {', '.join(versions)}, or none for the default",
                action="GET /v1/models lists what is served",
                code="version_not_found",
            )
        return versions[version]

    def default(self, model: str) -> Default:
        """The default version of a model that is served, and why it is."""
        promotion = self.promotions.get(model)
        if isinstance(promotion, PromotionRefused):
            return Default(None, str(promotion))
        versions = self.models[model]
        # Asked at every request that names no version: chosen anew when a card or decision changed.
        known = promotion, *(served.card for served in versions.values())
        chosen = self._chosen.get(model)
        if chosen is None or not _same(chosen[0], known):
            cards = {version: served.card for version, served in versions.items()}
            chosen = self._chosen[model] = known, choose_default(cards, promotion)
        return chosen[1]

    def is_forced(self, model: str) -> bool:
        """Whether the default version of a model is one that is not validated."""
        promotion = self.promotions.get(model)
        return isinstance(promotion, Promotion) and promotion.forced

    def _default_version(self, model: str) -> str:
        found = self.default(model)
        if found.version is None:
            raise ModelNotFound(
                f"model {model} without a version: {found.reason}",
                expected=f"one of the versions {', '.join(self.models[model])} to be named",
                action="name one, or have the operator of this server promote one "
                "(`forcegate-serve promote`)",
                code="no_default_version",
            )
        return found.version

    def served(self) -> Iterator[ServedVersion]:
        """Every version that is served."""
        for versions in self.models.values():
            yield from versions.values()

    def _advice(self) -> str:
        meant = self._meant(DEFAULT_ALIAS)
        if meant in self.models:
            return f'ask for "{DEFAULT_ALIAS}", which is {meant} here, or for one of them by name'
        return (
            f'ask for one of them by name; none is "{DEFAULT_ALIAS}" until whoever runs the server '
            "sets FORCEGATE_DEFAULT_MODEL"
        )

    def _meant(self, alias: str) -> str:
        """A model of that very name, the one that the settings name, or the only one there is."""
        if alias in self.models or self.policy.default_model is None:
            return next(iter(self.models)) if len(self.models) == 1 else alias
        return self.policy.default_model


def _same(one: tuple[object, ...], other: tuple[object, ...]) -> bool:
    return len(one) == len(other) and all(map(is_, one, other))


def _number(entry: tuple[str, ServedVersion]) -> int:
    return int(entry[0])
