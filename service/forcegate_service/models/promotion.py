"""Which version of a model answers when a request names none, and how an operator decides that.

Without a decision it is the newest version that validation found fit for something. A decision is a
small file in the model's folder, a pointer: nothing is moved, and taking it back is another one.
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from forcegate_client.errors import ForcegateError
from forcegate_client.writing.atomic import write_atomically
from forcegate_service.contract.card import Digest, ModelCard
from forcegate_service.models.loading import version_folders

__all__ = [
    "POINTER_NAME",
    "Default",
    "Promotion",
    "PromotionRefused",
    "choose_default",
    "promote",
    "read_promotion",
    "roll_back",
]

POINTER_NAME = "default.json"

Version = Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]


class PromotionRefused(ForcegateError):
    """A version cannot become the default of its model, or a pointer to one cannot be read."""

    default_code = "promotion_refused"
    title = "The version is not promoted"


class Promotion(BaseModel):
    """A decision: ``version``, with the card of ``card_digest``, answers from now on.

    ``previous`` is the version that did before; ``forced``: although validation found it fit for
    nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    version: Version
    card_digest: Digest
    previous: Version | None
    forced: bool
    who: str
    when: AwareDatetime


@dataclass(frozen=True)
class Default:
    """The version that is the default, None if none is, and why; ``forced`` as in `Promotion`."""

    version: str | None
    reason: str
    forced: bool = False


def choose_default(cards: Mapping[str, ModelCard], promotion: Promotion | None) -> Default:
    """The default among the versions that are there: what was promoted, or the newest fit one."""
    if promotion is None:
        fit = [version for version, card in cards.items() if card.fit_for_something]
        if fit:
            return Default(max(fit, key=int), "the newest version that is validated")
        return Default(None, "no version is validated, and none was promoted")
    said = f"version {promotion.version} was promoted by {promotion.who} at {promotion.when:%F %T}Z"
    card = cards.get(promotion.version)
    if card is None:
        return Default(None, f"{said}, and is not there")
    if card.card_digest != promotion.card_digest:
        return Default(None, f"{said}, with another card than is there")
    if promotion.forced:
        said += ", although it is not validated"
    return Default(promotion.version, said, promotion.forced)


def read_promotion(model: Path) -> Promotion | None:
    """The decision in the folder of a model, if there is one.

    Raises:
        PromotionRefused: if it cannot be read.
    """
    path = model / POINTER_NAME
    try:
        return Promotion.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else error.errors()[0]["msg"]
        raise PromotionRefused(
            f"{path}: {reason}",
            expected="a file written by `forcegate-serve promote`",
            action="promote the version that is to be the default",
        ) from error


def promote(repository: Path, model: str, version: str, *, force: bool = False) -> Promotion:
    """Let ``version`` answer for ``model`` where a request names no version.

    Raises:
        ModelRefused: if its files are not those of its card, or there is no repository.
        PromotionRefused: if there is no such version; if validation found it fit for nothing,
            unless that is forced; or if the pointer cannot be written.
    """
    cards = _cards(repository, model)
    if version not in cards:
        raise PromotionRefused(
            f"version {version!r} of {model}",
            expected=f"one of {', '.join(cards)}",
            action="export the version, or name another",
        )
    card = cards[version]
    if not (card.fit_for_something or force):
        verdicts = ", ".join(f"{use}: {status}" for use, status in card.status.items())
        raise PromotionRefused(
            f"{model} version {version} ({verdicts})",
            expected="a version that validation approved for something",
            action="run `forcegate-train validate` with --suite full, or give --force, of which "
            "its answers will tell",
        )
    return _decide(repository / model, cards, card)


def roll_back(
    repository: Path, model: str, version: str | None = None, *, force: bool = False
) -> Promotion:
    """Let the version answer again that did before the last decision, or ``version``.

    Whatever answered before may do so again, validated or not.

    Raises:
        ModelRefused, PromotionRefused: as :func:`promote`, and if nothing was promoted before.
    """
    if version is not None:
        return promote(repository, model, version, force=force)
    cards = _cards(repository, model)
    last = read_promotion(repository / model)
    if last is None or last.previous is None:
        raise PromotionRefused(
            f"{model}, whose default was never changed"
            if last is None
            else f"{model}, which had no default before version {last.version} was promoted",
            expected="a version to go back to",
            action=f"name one of {', '.join(cards)}",
        )
    if last.previous not in cards:
        raise PromotionRefused(
            f"{model} without version {last.previous}, which answered before",
            expected=f"one of {', '.join(cards)}",
            action="restore its folder, or name another version",
        )
    return _decide(repository / model, cards, cards[last.previous])


def _cards(repository: Path, model: str) -> dict[str, ModelCard]:
    folders = version_folders(repository)
    cards = {f.name: ModelCard.load(f) for f in folders if f.parent.name == model}
    if not cards:
        raise PromotionRefused(
            f"model {model!r}",
            expected=f"one of {', '.join(sorted({f.parent.name for f in folders}))}",
            action="check the name, or set --model-repository",
        )
    return cards


def _decide(folder: Path, cards: Mapping[str, ModelCard], card: ModelCard) -> Promotion:
    card.verify(folder / card.version)
    try:
        last = read_promotion(folder)
    except PromotionRefused:
        # One that cannot be read must not stand in the way of a new one.
        before = None
    else:
        before = choose_default(cards, last).version
        if last is not None and last.version == card.version:
            # Who decides the same twice still wants to go back to what was before.
            before = last.previous
    decision = Promotion(
        version=card.version,
        card_digest=card.card_digest,
        previous=before,
        forced=not card.fit_for_something,
        who=_who(),
        when=datetime.now(UTC).replace(microsecond=0),
    )
    try:
        content = decision.model_dump_json(indent=1).encode() + b"\n"
        write_atomically(folder / POINTER_NAME, content)
    except OSError as error:
        raise PromotionRefused(
            f"{folder / POINTER_NAME}: {error.strerror}",
            expected="a model repository that this user can write to",
            action="make room, or run as its owner; the default is as it was",
        ) from error
    return decision


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # In a container the user often has no name.
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
