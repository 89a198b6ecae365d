"""What can be wrong with a dataset."""


class DatasetError(Exception):
    """Base of everything that reading or writing a dataset can raise."""

    code = "dataset_error"


class DatasetNotFoundError(DatasetError):
    """There is no file at the path."""

    code = "dataset_not_found"


class DatasetCorruptError(DatasetError):
    """The file is damaged or not a dataset: it cannot be opened, or a checksum does not match."""

    code = "dataset_corrupt"


class DatasetMismatchError(DatasetError):
    """Arrays, or several datasets, do not belong together."""

    code = "dataset_mismatch"
