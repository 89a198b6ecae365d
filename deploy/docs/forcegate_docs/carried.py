"""Files outside docs/ that the site shows too, and links to them.

On GitHub a page of docs/ links to ``../CHANGELOG.md``. In the site that file lies under
``repository/``, and a file that the site does not hold, code say, is named instead of linked.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from pathlib import Path

__all__ = ["ROOT", "carried", "reports", "repository_path", "rewritten"]

ROOT = Path(__file__).parents[3]
_SHOWN = (
    "CHANGELOG.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "benchmarks/results/*.png",
    "deploy/README.md",
    "model_repository/*/*/model_card.json",
    "model_repository/*/*/report/*.md",
    "model_repository/*/*/report/*.png",
)
# Code is left alone: a SMILES in backticks looks like a link.
_CODE_OR_LINK = re.compile(
    r"(^```.*?^```|^ +```.*?^ +```|`[^`\n]*`)|\[([^\]]*)\]\(([^()\s]+)\)", re.M | re.S
)


@cache
def carried() -> dict[str, Path]:
    """Their paths in the repository, and where they lie."""
    found = [path for pattern in _SHOWN for path in sorted(ROOT.glob(pattern))]
    return {path.relative_to(ROOT).as_posix(): path for path in found}


def reports() -> list[dict[str, str]]:
    """Entries of the navigation for each version's report, the newest of a model first."""
    names = [name for name in carried() if name.endswith("/report/report.md")]
    split = [(name.split("/")[1], int(name.split("/")[2]), name) for name in names]
    ordered = sorted(split, key=lambda item: (item[0], -item[1]))
    return [{f"{model} {version}": f"repository/{name}"} for model, version, name in ordered]


def repository_path(page: str) -> str | None:
    """Where a page of the site lies in the repository; none if it is generated."""
    if page.startswith("generated/"):
        return None
    return page.removeprefix("repository/") if page.startswith("repository/") else f"docs/{page}"


def rewritten(markdown: str, page: str) -> str:
    """The text of a page with the links that leave its part of the site made right."""
    own = repository_path(page)
    if own is None:
        return markdown
    return _CODE_OR_LINK.sub(lambda match: _link(match, page, own), markdown)


def _link(match: re.Match[str], page: str, own: str) -> str:
    code, text, target = match.groups()
    path, mark, anchor = (target or "").partition("#")
    if code or not path or re.match(r"[a-z]+:", path):
        return match[0]
    wanted = posixpath.normpath(posixpath.join(posixpath.dirname(own), path))
    if wanted.startswith("docs/"):
        lies = wanted.removeprefix("docs/")
    elif wanted in carried():
        lies = f"repository/{wanted}"
    else:
        where = "" if wanted in text else f" (`{wanted}` in the repository)"
        return f"{text}{where}"
    return f"[{text}]({posixpath.relpath(lies, posixpath.dirname(page) or '.')}{mark}{anchor})"
