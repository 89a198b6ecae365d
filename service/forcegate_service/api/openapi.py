"""What the OpenAPI document says about bodies that handlers read themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from forcegate_client.wire.run_records import JSON_LINES, RECORDS
from forcegate_service.api.deadline import TIMEOUT_HEADER
from forcegate_service.api.problems import PROBLEM_TYPE, Problem
from forcegate_service.dynamics.body import DynamicsBody, RelaxBody
from forcegate_service.predict.forms import JSON, MSGPACK, XYZ
from forcegate_service.predict.hessian import HessianAnswer, HessianBody
from forcegate_service.predict.json_answer import PredictAnswer
from forcegate_service.predict.json_request import PredictBody
from forcegate_service.reading.files import FoundStructures
from forcegate_service.watch.md_runs.report import MDReportBody
from forcegate_service.watch.shadow.results import ShadowResults

__all__ = [
    "DYNAMICS_REQUEST",
    "FORBIDDEN",
    "HESSIAN_REQUEST",
    "HESSIAN_RESPONSES",
    "NOT_FOUND",
    "NOT_READY",
    "PREDICT_REQUEST",
    "PREDICT_RESPONSES",
    "RELAX_REQUEST",
    "REPORT_REQUEST",
    "REPORT_RESPONSES",
    "RUN_RESPONSES",
    "SHADOW_REQUEST",
    "SHADOW_RESPONSES",
    "STRUCTURES_REQUEST",
    "STRUCTURES_RESPONSES",
    "UNAUTHORIZED",
    "UNREADABLE",
    "describe_bodies",
]

_REFERENCE = "#/components/schemas/{model}"
_OF_XYZ = "frames of XYZ; model, version, properties and on_error stand in the query of the URL"
_COLUMNAR = {"schema": {"type": "string", "format": "binary", "description": "docs/wire-format.md"}}


def _schema(model: str) -> dict[str, Any]:
    return {"schema": {"$ref": _REFERENCE.format(model=model)}}


def _content(model: str) -> dict[str, Any]:
    return {JSON: _schema(model), MSGPACK: _COLUMNAR}


def _json_request(model: str) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: _schema(model)}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {PROBLEM_TYPE: _schema(Problem.__name__)}}


Responses = dict[int | str, dict[str, Any]]

UNAUTHORIZED: Responses = {401: _problem("Keys are in force, and none or an unknown one was sent")}
FORBIDDEN: Responses = {
    403: _problem("The key lacks the scope, or the model is not approved for this use")
}
NOT_FOUND: Responses = {404: _problem("No such model or version")}
UNREADABLE: Responses = {422: _problem("Parameters of the URL that cannot be read")}
NOT_READY: Responses = {503: _problem("The models are not loaded, or the runtime is away")}
_TIMEOUT = {
    "name": TIMEOUT_HEADER,
    "in": "header",
    "required": False,
    "description": "Seconds after which the answer is not wanted any more",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}
PREDICT_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": _content(PredictBody.__name__)
        | {XYZ: {"schema": {"type": "string", "format": "binary", "description": _OF_XYZ}}},
    },
    "parameters": [_TIMEOUT],
}
PREDICT_RESPONSES: Responses = {
    200: {"description": "The predictions", "content": _content(PredictAnswer.__name__)},
    400: _problem("The body is not JSON or msgpack"),
    406: _problem("Accept names neither JSON nor msgpack"),
    413: _problem("Too many bytes, atoms, structures or pairs of neighbours"),
    415: _problem("Neither JSON nor msgpack nor XYZ, or compressed"),
    422: _problem("A structure or field that cannot be computed"),
    429: _problem("More work is waiting than is admitted; Retry-After says when to come back"),
    500: _problem("A defect in the server"),
    504: _problem("The time that the request was allowed has passed"),
    **UNAUTHORIZED,
    **FORBIDDEN,
    **NOT_FOUND,
    **NOT_READY,
}
DYNAMICS_REQUEST: dict[str, Any] = {
    "requestBody": {"required": True, "content": _content(DynamicsBody.__name__)},
    "parameters": PREDICT_REQUEST["parameters"],
}
RELAX_REQUEST: dict[str, Any] = {
    "requestBody": {"required": True, "content": _content(RelaxBody.__name__)},
    "parameters": PREDICT_REQUEST["parameters"],
}
_RECORDS = {"schema": {"type": "string", "format": "binary", "description": "docs/runs.md"}}
RUN_RESPONSES: Responses = PREDICT_RESPONSES | {
    200: {
        "description": "Records, one after the other, until the summary",
        "content": {JSON_LINES: _RECORDS, RECORDS: _RECORDS},
    },
}
HESSIAN_REQUEST: dict[str, Any] = {
    **_json_request(HessianBody.__name__),
    "parameters": [_TIMEOUT],
}
HESSIAN_RESPONSES: Responses = {
    **PREDICT_RESPONSES,
    200: {
        "description": "The second derivatives",
        "content": {JSON: _schema(HessianAnswer.__name__)},
    },
    400: _problem("The body is not JSON"),
    406: _problem("Accept does not name JSON"),
    413: _problem("Too many bytes, or more atoms than can be displaced in one request"),
    415: _problem("Not JSON, or compressed"),
}
SHADOW_REQUEST: dict[str, Any] = _json_request(ShadowResults.__name__)
SHADOW_RESPONSES: Responses = {
    400: _problem("The body is not JSON"),
    413: _problem("Too many bytes"),
    415: _problem("Not JSON, or compressed"),
    422: _problem("A field that is missing, unknown, of another type or out of bounds"),
    429: _problem("No room for the body; Retry-After says when to come back"),
    504: _problem("The body took too long to arrive"),
    **UNAUTHORIZED,
    **FORBIDDEN,
}
STRUCTURES_REQUEST: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}
STRUCTURES_RESPONSES: Responses = {
    200: {"description": "What the file holds", "content": {JSON: _schema("FoundStructures")}},
    413: _problem("Too many bytes"),
    415: _problem("Not application/octet-stream"),
    422: _problem("An unknown format, or no structure in the file"),
    429: _problem("Other files are being read; Retry-After says when to come back"),
    504: _problem("The file took too long to arrive or to be read"),
    **UNAUTHORIZED,
    **FORBIDDEN,
}
REPORT_REQUEST: dict[str, Any] = _json_request(MDReportBody.__name__)
REPORT_RESPONSES: Responses = {
    204: {"description": "The report was counted, or had been"},
    400: _problem("The body is not JSON"),
    413: _problem("More bytes than a report has"),
    415: _problem("Not JSON, or compressed"),
    422: _problem("A report that cannot be right, or is about other weights"),
    429: _problem("More reports than one caller may send; leave this one out"),
    504: _problem("The body did not come in time"),
    **UNAUTHORIZED,
    **FORBIDDEN,
    **NOT_FOUND,
    **NOT_READY,
}


def describe_bodies(app: FastAPI) -> None:
    """Add what the routes of ``app`` refer to by name, and how a key is sent, to its document."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        components = document.setdefault("components", {})
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        # Either nothing or a key: whether keys are in force is up to each server.
        document["security"] = [{}, {"key": []}]
        schemas = components.setdefault("schemas", {})
        for model in (
            PredictBody,
            PredictAnswer,
            HessianBody,
            HessianAnswer,
            DynamicsBody,
            RelaxBody,
            MDReportBody,
            ShadowResults,
            FoundStructures,
            Problem,
        ):
            schema = model.model_json_schema(ref_template=_REFERENCE)
            schemas.update(schema.pop("$defs", {}))
            schemas[model.__name__] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]
