"""Lists as GitHub reads them, rewritten for Python-Markdown.

GitHub lets a list follow a paragraph without an empty line, and indents what belongs to an item
by the width of its marker; Python-Markdown wants the line, and four columns.
"""

from __future__ import annotations

import re

__all__ = ["with_python_markdown_lists"]

_ITEM = re.compile(r"(?:[-*]|\d+\.) +")
_WIDTH = 4


def with_python_markdown_lists(markdown: str) -> str:
    """The text with an empty line before each list, and items' contents four columns in."""
    written: list[str] = []
    width = 0  # of the marker of the list that the line is in; 0 outside of lists
    fence = ""
    for line in markdown.split("\n"):
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        inside = width > 0 and indent >= width
        if fence:
            fence = "" if bare.startswith(fence) else fence
        elif bare.startswith("```"):
            fence = "```"
            width = width if inside else 0
        elif bare and not inside:
            item = _ITEM.match(line)
            follows_text = bool(written) and bool(written[-1].strip())
            if follows_text and bool(item) != (width > 0):
                written.append("")
            width = len(item[0]) if item else 0
        written.append(" " * (_WIDTH - width) + line if width and inside and bare else line)
    return "\n".join(written)
