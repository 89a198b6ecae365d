"""The tree of exceptions that crosses the wire, as a page."""

from __future__ import annotations

import inspect

from forcegate_client.errors import ForcegateError

__all__ = ["error_classes"]

_HEAD = """# Error classes

What the client raises. A problem document of the server comes back as the class that the server
raised, by its `code` or, where a code has no class of its own, by its status;
[the page of errors](../errors.md) lists all codes. All classes are in `forcegate_client.errors`.

| class | is a | status | code | meaning |
|---|---|---|---|---|
"""


def error_classes() -> str:
    """A row for each class, in the order of the tree."""
    return _HEAD + "".join(_row(cls) for cls in (ForcegateError, *_below(ForcegateError)))


def _below(cls: type[ForcegateError]) -> list[type[ForcegateError]]:
    found = []
    for sub in cls.__subclasses__():
        # Trainer and service extend the tree by errors that do not cross the wire.
        if sub.__module__ == ForcegateError.__module__:
            found += [sub, *_below(sub)]
    return found


def _row(cls: type[ForcegateError]) -> str:
    base = cls.__bases__[0].__name__
    above = f"`{base}`"
    said = (inspect.getdoc(cls) or cls.title).partition("\n\n")[0].replace("\n", " ")
    answers = cls.default_code != "error" and not cls.__name__.startswith(("Server", "Digest"))
    status = str(cls.status) if answers or cls.__name__ == "ServerFault" else ""
    return f"| `{cls.__name__}` | {above} | {status} | `{cls.default_code}` | {said} |\n"
