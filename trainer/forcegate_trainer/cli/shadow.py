"""``forcegate-train shadow``: the teacher's opinion of what a gateway answered."""

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console

from forcegate_trainer.data.resumable import SINGLE_THREADED
from forcegate_trainer.errors import SettingsError
from forcegate_trainer.teachers.spec import TBLITE_ACCURACY


def shadow_command(
    spool: Annotated[Path, typer.Option(help="The gateway's FORCEGATE_SHADOW_DIR.")],
    gateway: Annotated[str, typer.Option(help="Its URL; the key is FORCEGATE_API_KEY.")],
    teacher: Annotated[
        str | None,
        typer.Option(
            help="As in `label`: structures of other teachers' students are left. Without it, "
            "AIMNet2 or tblite, whichever taught the student."
        ),
    ] = None,
    accuracy: Annotated[
        float, typer.Option(help="tblite's accuracy, as the card has it.")
    ] = TBLITE_ACCURACY,
    once: Annotated[bool, typer.Option("--once", help="Do what there is, and end.")] = False,
    pause_s: Annotated[float, typer.Option(min=0.01, help="Between two looks.")] = 2.0,
    nice: Annotated[int, typer.Option(min=0, max=19, help="Added to the priority.")] = 19,
) -> None:
    """Label what a gateway put aside, and tell it how far its student is from the teacher."""
    os.nice(nice)
    # Before the teacher is imported; with more threads a small molecule takes longer.
    for name, value in SINGLE_THREADED.items():
        os.environ.setdefault(name, value)
    from forcegate_client.retry import PATIENT, RetryPolicy
    from forcegate_service.watch.shadow.spool import Spool
    from forcegate_trainer.shadow.gateway import HttpGateway
    from forcegate_trainer.shadow.worker import Worker
    from forcegate_trainer.teachers.spec import parse_teacher

    if not spool.is_dir():
        raise SettingsError(
            f"received --spool {spool}, which is no folder; expected the FORCEGATE_SHADOW_DIR of a "
            "gateway that runs with a FORCEGATE_SHADOW_FRACTION"
        )
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, _stop)
    found = None if teacher is None else parse_teacher(teacher, accuracy)
    connection = HttpGateway(gateway, retry=RetryPolicy() if once else PATIENT)
    worker = Worker(Spool(spool), connection, found, console.print)
    try:
        if once:
            worker.run()
        else:
            worker.run_on(pause_s)
    finally:
        connection.close()
        console.print(str(worker.tally))


def _stop(number: int, frame: FrameType | None) -> None:
    # What is claimed is released on the way out.
    raise SystemExit(128 + number)
