"""What can be wrong with an input as a whole; what is wrong with one record is a ``Problem``."""

from forcegate_client.errors import ForcegateError
from forcegate_client.extras import PackageMissing

__all__ = ["InputUnreadable", "PackageMissing"]


class InputUnreadable(ForcegateError):
    """There is no such file, or nothing in it can be told apart as a structure."""

    default_code = "input_unreadable"
    title = "The input cannot be read"
