"""How much work a request is, how much may wait, whose turn it is, and what runs together."""
