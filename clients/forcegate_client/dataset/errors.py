"""What can be wrong with a dataset."""

from forcegate_client.errors import ForcegateError


class DatasetError(ForcegateError):
    """Base of everything that reading or writing a dataset can raise."""

    default_code = "dataset_error"
    title = "The dataset cannot be used"


class DatasetNotFoundError(DatasetError):
    """There is no file at the path."""

    default_code = "dataset_not_found"


class DatasetCorruptError(DatasetError):
    """The file is damaged or not a dataset: it cannot be opened, or a checksum does not match."""

    default_code = "dataset_corrupt"


class DatasetMismatchError(DatasetError):
    """Arrays, or several datasets, do not belong together."""

    default_code = "dataset_mismatch"


class DatasetNotWrittenError(DatasetError):
    """The disk has no room for the file, or the folder takes none; nothing there has changed."""

    default_code = "dataset_not_written"
