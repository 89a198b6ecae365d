"""How reports look: figures, tables and numbers that may be missing."""
