"""From a run to an immutable version: its weights, its card, and what may be added to it later."""
