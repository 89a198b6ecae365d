"""What can be wrong with a screening, apart from what the server says."""

from forcegate_client.errors import ForcegateError

__all__ = [
    "ResultsMismatch",
    "ScreeningError",
    "WhereInvalid",
]


class ScreeningError(ForcegateError):
    """Base of everything that a screening can raise."""

    default_code = "screening_error"
    title = "The screening cannot go on"


class ResultsMismatch(ScreeningError):
    """The folder holds results of other work, or not all of them."""

    default_code = "results_mismatch"


class WhereInvalid(ScreeningError):
    """The expression is not one over the columns of the results."""

    default_code = "where_invalid"
