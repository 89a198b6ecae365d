"""The report of a validation: Markdown with figures, and the same numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from forcegate_trainer.reports import table
from forcegate_trainer.validation.section import Section
from forcegate_trainer.validation.verdict import Judgement, Verdict

__all__ = ["REPORT_NAME", "write_report"]

REPORT_NAME = "report.md"
_DATA_NAME = "report.json"
_DPI = 110


def write_report(
    folder: Path,
    title: str,
    introduction: str,
    verdicts: Mapping[str, Verdict],
    sections: Sequence[Section],
    about: Mapping[str, Any],
) -> None:
    """Write ``report.md``, its figures and ``report.json`` into ``folder``.

    ``about`` says in JSON what was validated and how.

    Raises:
        ValueError: if two figures have one name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names = [name for section in sections for name in section.figures]
    if len(set(names)) < len(names):
        raise ValueError(f"received figures named {sorted(names)}; expected each name once")
    for section in sections:
        for name, figure in section.figures.items():
            figure.savefig(folder / f"{name}.png", dpi=_DPI)
    parts = [f"# {title}", introduction, "## Verdicts", _verdict_text(verdicts)]
    for section in sections:
        parts += [f"## {section.title}", section.markdown]
    (folder / REPORT_NAME).write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    content = {
        **about,
        "verdicts": {use: verdict.to_json() for use, verdict in verdicts.items()},
        "sections": {section.title: section.data for section in sections},
    }
    text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
    (folder / _DATA_NAME).write_text(text + "\n", encoding="utf-8")


def _verdict_text(verdicts: Mapping[str, Verdict]) -> str:
    rows = [(f"`{use}`", _status(verdict), _reason(verdict)) for use, verdict in verdicts.items()]
    criteria = [
        (
            f"`{verdict.use}`",
            _meaning(judgement),
            _value(judgement),
            _limit(judgement),
            judgement.status.replace("_", " "),
        )
        for verdict in verdicts.values()
        for judgement in verdict.judgements
    ]
    parts = [table(("use", "verdict", "decided by"), rows)]
    if criteria:
        parts += [
            "Each figure is approved up to its limit, a matter of caution up to twice the limit "
            "(for a fraction or a correlation: twice the shortfall from 1), and rejected beyond.",
            table(("use", "figure", "measured", "limit", "means"), criteria),
        ]
    return "\n\n".join(parts)


def _status(verdict: Verdict) -> str:
    status = f"**{verdict.status.replace('_', ' ')}**"
    return f"{status} for {verdict.holds_for}" if verdict.holds_for else status


def _reason(verdict: Verdict) -> str:
    chosen = [j for j in verdict.judgements if j.criterion.figure in verdict.decided_by]
    if not chosen:
        return "; ".join(verdict.decided_by)
    return "; ".join(f"{_meaning(j)}: {_value(j)} (limit {_limit(j)})" for j in chosen)


def _meaning(judgement: Judgement) -> str:
    # A bar would end the cell of a table.
    return judgement.criterion.meaning.replace("|", "\\|")


def _value(judgement: Judgement) -> str:
    return "not measured" if judgement.value is None else f"{judgement.value:.3g}"


def _limit(judgement: Judgement) -> str:
    sign = "≥" if judgement.criterion.higher_is_better else "≤"
    return f"{sign} {judgement.criterion.limit:g}"
