"""One whole turn of the wheel: a group left out, missed, found by the alert, and learned."""
