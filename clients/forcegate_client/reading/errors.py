"""What can be wrong with an input as a whole; what is wrong with one record is a ``Problem``."""

from forcegate_client.errors import ForcegateError

__all__ = ["InputUnreadable", "PackageMissing"]


class InputUnreadable(ForcegateError):
    """There is no such file, or nothing in it can be told apart as a structure."""

    default_code = "input_unreadable"
    title = "The input cannot be read"


class PackageMissing(ForcegateError):
    """A format needs a package that is not installed."""

    default_code = "package_missing"
    title = "A package is not installed"
