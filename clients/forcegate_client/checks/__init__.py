"""What is refused and what is remarked on: the same for a gateway and for a student in one's own
process.

``structures`` and ``cells`` look before anything is computed, ``contacts`` and ``composition`` at
what the model was not made for, ``charges`` and ``plausible`` at what it answered.
"""
