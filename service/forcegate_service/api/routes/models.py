"""``GET /v1/models``: what is served, what was refused, and the cards."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from forcegate_service.api.openapi import NOT_FOUND, NOT_READY, UNAUTHORIZED, UNREADABLE
from forcegate_service.api.routes.dependencies import GatewayDependency, caller
from forcegate_service.contract.card import Approval, ModelCard

__all__ = ["router"]

router = APIRouter(
    tags=["models"],
    prefix="/v1/models",
    dependencies=[Depends(caller)],
    responses=UNAUTHORIZED,
)


class ModelEntry(BaseModel):
    """One model; what is said of it is true of its default version.

    ``digest`` is that of the weights, ``card_digest`` that of all that answers depend on; models of
    ``interface`` 2 take ions, and answer with atomic charges.
    Without a default, ``default_version`` is null and it is the newest version that is meant.
    """

    name: str
    default_version: str | None
    default_reason: str
    versions: list[str]
    digest: str
    card_digest: str
    elements: list[int]
    interface: int
    status: dict[str, Approval]


class RefusedEntry(BaseModel):
    """A version in the repository that is not served."""

    name: str
    version: str
    reason: str


class ModelList(BaseModel):
    """All models of the server."""

    models: list[ModelEntry]
    refused: list[RefusedEntry]


@router.get("", summary="What is served", responses=NOT_READY)
async def list_models(gateway: GatewayDependency) -> ModelList:
    """Each model with its versions; versions that were refused, with the reason."""
    gateway.require_ready()
    entries = []
    for name, versions in gateway.models.models.items():
        default = gateway.models.default(name)
        card = versions[default.version or next(reversed(versions))].card
        entries.append(
            ModelEntry(
                name=name,
                default_version=default.version,
                default_reason=default.reason,
                versions=list(versions),
                digest=card.digest,
                card_digest=card.card_digest,
                elements=card.elements,
                interface=card.interface,
                status=card.status,
            )
        )
    refused = [
        RefusedEntry(name=item.model, version=item.version, reason=item.reason)
        for item in gateway.models.refused
    ]
    return ModelList(models=entries, refused=refused)


@router.get("/{name}", summary="The card of a model", responses=NOT_FOUND | UNREADABLE | NOT_READY)
async def show_model(
    name: str, gateway: GatewayDependency, version: str | None = None
) -> ModelCard:
    """The card of ``version``, or of the default one."""
    gateway.require_ready()
    return gateway.models.find(name, version).card
