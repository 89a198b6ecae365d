"""Code blocks of the documents."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block, and the paragraph before it."""

    language: str
    text: str
    before: str


def all_blocks(document: Path = README) -> list[Block]:
    """Every fenced block that names its language, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(match[1], match[2], text[: match.start()].rstrip().rpartition("\n\n")[2])
        for match in _BLOCK.finditer(text)
    ]


def blocks(language: str, document: Path = README) -> list[str]:
    """The content of all fenced blocks of a language, in order."""
    return [block.text for block in all_blocks(document) if block.language == language]


def commands(document: Path = README) -> list[str]:
    """Every command line of a document."""
    return [
        line for block in blocks("bash", document) for line in block.splitlines() if line.strip()
    ]
