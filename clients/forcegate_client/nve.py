"""Dynamics at constant energy, by the name that scripts import; the code is in ``md.nve``."""

from forcegate_client.md.nve import *  # noqa: F403
from forcegate_client.md.nve import __all__  # noqa: F401
