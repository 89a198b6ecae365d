"""From what a gateway captured to frames that may be trained on."""
