"""Settings that are options of a command too: default, bounds and help in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from forcegate_trainer.errors import SettingsError

__all__ = ["Setting", "refuse_out_of_bounds", "setting", "settings_of"]


@dataclass(frozen=True)
class Setting:
    """What the help says of an option and in which panel, its bounds, and how it is written.

    ``flags`` are those of a switch that is not plainly named; ``may_change``: a run that goes on
    may be given another value than it began with.
    """

    help: str | None = None
    panel: str | None = None
    low: float | None = None
    high: float | None = None
    flags: tuple[str, ...] = ()
    may_change: bool = False


def setting(
    default: Any,
    help: str | None = None,
    *,
    panel: str | None = None,
    low: float | None = None,
    high: float | None = None,
    flags: tuple[str, ...] = (),
    may_change: bool = False,
) -> Any:
    """A field of a dataclass that is an option of a command too."""
    described = Setting(help, panel, low, high, flags, may_change)
    return field(default=default, metadata={Setting: described})


def settings_of(owner: Any) -> Mapping[str, tuple[Field[Any], Setting]]:
    """The options among the fields of a dataclass, or of an instance, by name and in order."""
    return {f.name: (f, f.metadata[Setting]) for f in fields(owner) if Setting in f.metadata}


def refuse_out_of_bounds(owner: Any) -> None:
    """Raise ``SettingsError`` for the first setting of an instance that is out of its bounds."""
    for name, (_, described) in settings_of(owner).items():
        value = getattr(owner, name)
        low, high = described.low, described.high
        if value is None or (low is None and high is None):
            continue
        # Written so that NaN is refused.
        inside = (low is None or value >= low) and (high is None or value <= high)
        if not inside:
            expected = f"{low} or more" if high is None else f"{low} to {high}"
            raise SettingsError(f"received {name} = {value}; expected {expected}")
