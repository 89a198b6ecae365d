"""What can go wrong between a list of molecules and a trained student, one class a cause."""

from forcegate_client.errors import ForcegateError


class TrainerError(ForcegateError):
    """Base of every error of this package that a user can do something about."""

    default_code = "trainer_error"
    title = "The trainer cannot continue"


class MoleculeError(TrainerError):
    """A molecule cannot be used: not a molecule, not neutral and closed-shell, or out of range."""

    default_code = "molecule_invalid"


class TeacherError(TrainerError):
    """A teacher is unknown, not installed, or cannot be constructed."""

    default_code = "teacher_unavailable"


class LabelError(TrainerError):
    """A teacher could not label a frame; carries the reason under which the frame is counted."""

    default_code = "label_failed"

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class SettingsError(TrainerError):
    """A setting is out of its range or contradicts another."""

    default_code = "settings_invalid"


class WorkerDiedError(TrainerError):
    """A worker process ended without an answer."""

    default_code = "worker_died"


class TrainingDivergedError(TrainerError):
    """The loss or its gradient is no longer a finite number."""

    default_code = "training_diverged"
