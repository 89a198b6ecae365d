"""The gateway's OpenAPI document as a page that needs no script."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["openapi_page"]

_HEAD = """# Routes

The gateway's OpenAPI document, version {version}, as a page; [the document itself](openapi.json)
is for programs, and a running gateway answers with it under `/openapi.json` and shows it under
`/docs`. Beside JSON, `/v1/predict` speaks [a binary form](../wire-format.md). All errors are
[problem documents](../errors.md).

Where [keys](../keys.md) are in force, a request carries `Authorization: Bearer fg_…`.
"""


def openapi_page(document: dict[str, Any]) -> str:
    """Each route with its parameters, bodies and answers, then each schema."""
    lines = [_HEAD.format(version=document["info"]["version"])]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            lines += _route(path, method, route)
    lines += ["## Schemas", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _schema(name, schema)
    return "\n".join(lines)


def _route(path: str, method: str, route: dict[str, Any]) -> list[str]:
    lines = [f"## {method.upper()} {path}", "", f"**{route.get('summary', '')}.**", ""]
    if route.get("description"):
        lines += [_prose(route["description"]), ""]
    if route.get("parameters"):
        lines += ["| parameter | in | type | |", "|---|---|---|---|"]
        for one in route["parameters"]:
            needed = "required. " if one.get("required") else ""
            said = needed + one.get("description", "")
            lines.append(f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} | {said} |")
        lines.append("")
    if "requestBody" in route:
        lines += [f"Body: {_content(route['requestBody']['content'])}.", ""]
    lines += ["| status | when | body |", "|---|---|---|"]
    for status, answer in sorted(route["responses"].items()):
        lines.append(
            f"| {status} | {answer['description']} | {_content(answer.get('content', {}))} |"
        )
    return [*lines, ""]


def _content(content: dict[str, Any]) -> str:
    return ", ".join(
        f"`{kind}` ({_type(body.get('schema', {}))})" for kind, body in content.items()
    )


def _schema(name: str, schema: dict[str, Any]) -> list[str]:
    lines = [f"### {name}", ""]
    if schema.get("description"):
        lines += [_prose(schema["description"]), ""]
    if schema.get("properties"):
        lines += ["| field | type | default | |", "|---|---|---|---|"]
        required = set(schema.get("required", ()))
        for field, body in schema["properties"].items():
            default = "required" if field in required else _default(body)
            said = _prose(body.get("description", "")).replace("\n", " ")
            lines.append(f"| `{field}` | {_type(body)} | {default} | {said} |")
        lines.append("")
    for example in schema.get("examples", ()):
        lines += ["```json", json.dumps(example, ensure_ascii=False), "```", ""]
    return lines


def _default(body: dict[str, Any]) -> str:
    return f"`{json.dumps(body['default'])}`" if "default" in body else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_type(schema['items'])}" if "items" in schema else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_type(schema['additionalProperties'])}"
    bounds = [
        f"{sign} {schema[key]}"
        for key, sign in (
            ("minimum", "≥"),
            ("exclusiveMinimum", ">"),
            ("maximum", "≤"),
            ("exclusiveMaximum", "&lt;"),
        )
        if key in schema
    ]
    return " ".join([str(kind), ", ".join(bounds)]).strip()


def _prose(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
