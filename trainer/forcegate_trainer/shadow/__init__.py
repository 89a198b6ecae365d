"""Student against teacher: labels for live structures that a gateway put aside."""
