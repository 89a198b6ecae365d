"""``forcegate md``: molecular dynamics of one structure, watched and written down."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from forcegate_client.calculator import RemoteCalculator
from forcegate_client.cli.console import CommandError, ExitCode, err_console, out_console, warn
from forcegate_client.cli.files import opened, prepare_directory, stem_of
from forcegate_client.cli.md_output import LOG, MDOutput, summary_of
from forcegate_client.cli.md_progress import md_progress
from forcegate_client.cli.md_run import (
    Ensemble,
    MDSettings,
    new_monitor,
    prepare,
    record,
    require_motion,
)
from forcegate_client.cli.options import (
    FormatOption,
    InputArgument,
    ModelOption,
    OverwriteOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    connect,
)
from forcegate_client.nve import DEFAULT_FRICTION_PER_FS
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.library import open_library
from forcegate_client.reading.record import Record

__all__ = ["md"]


def md(
    inputs: InputArgument = None,
    smiles: SmilesOption = None,
    format: FormatOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: <INPUT>_md.")
    ] = None,
    ensemble: Annotated[Ensemble, typer.Option(help="Constant energy or thermostat.")] = (
        Ensemble.NVE
    ),
    temperature: Annotated[float, typer.Option(min=0.1, help="Temperature, K.")] = 300.0,
    timestep_fs: Annotated[float, typer.Option(min=0.01, help="Timestep, fs.")] = 0.5,
    time_ps: Annotated[float, typer.Option(min=0.001, help="Length of the run, ps.")] = 10.0,
    equilibrate_ps: Annotated[
        float, typer.Option(min=0.0, help="Langevin dynamics before it, ps; not recorded.")
    ] = 2.0,
    friction: Annotated[
        float, typer.Option(min=0.0, help="Langevin friction, 1/fs.")
    ] = DEFAULT_FRICTION_PER_FS,
    relax: Annotated[bool, typer.Option(help="Relax the structure first.")] = True,
    frame: Annotated[int, typer.Option(help="Which structure of INPUT; -1 is the last.")] = -1,
    log_every: Annotated[int, typer.Option(min=1, help="Steps between log lines.")] = 10,
    frame_every: Annotated[int, typer.Option(min=1, help="Steps between frames.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of velocities and thermostat.")] = 0,
    url: UrlOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
    report: Annotated[
        bool, typer.Option(help="Tell the server how the run goes: drift and temperature only.")
    ] = True,
) -> None:
    """Run molecular dynamics of one structure: trajectory, log, plot and energy drift."""
    settings = MDSettings(
        ensemble=ensemble,
        temperature_k=temperature,
        timestep_fs=timestep_fs,
        time_ps=time_ps,
        equilibrate_ps=equilibrate_ps,
        friction_per_fs=friction,
        relax=relax,
        seed=seed,
        log_every=log_every,
        frame_every=frame_every,
    )
    with opened(inputs, smiles, format) as files:
        chosen, stem = _chosen(files, frame), stem_of(files)
    assert chosen.atoms is not None
    atoms = chosen.atoms
    require_motion(atoms)
    rng = np.random.default_rng(seed)
    with connect(url, give_up_after_s=None) as client:
        calculator = RemoteCalculator(model=model, version=version, client=client)
        atoms.calc = calculator
        # Asked before anything is written, so that a structure the model does not know, or a
        # missing server, leaves nothing behind.
        atoms.get_potential_energy()
        approval = calculator.approval.get("md", "not_validated")
        if approval != "approved":
            warn(f"{model} {calculator.version} is {approval} for molecular dynamics")
        directory = prepare_directory(out or Path(f"{stem}_md"), overwrite, marker=LOG)
        with md_progress(err_console()) as progress:
            prepared = prepare(atoms, settings, rng, progress)
            monitor = new_monitor(atoms, settings, rng, prepared, report)
            with MDOutput(directory, monitor) as output:
                interrupted = record(monitor, settings, output, progress)
                summary = (
                    _served(calculator)
                    | {"file": chosen.source, "frame": chosen.index}
                    | {"formula": atoms.get_chemical_formula()}
                    | asdict(settings)
                    | {"interrupted": interrupted}
                    | summary_of(monitor.report(), settings.conserves_energy)
                )
                title = f"{summary['formula']}, {model} {calculator.version}, {ensemble.value}"
                output.finish(summary, title, settings.conserves_energy)
    out_console().print(_table(summary))
    out_console().print(f"written to {directory}", soft_wrap=True)
    if interrupted:
        warn("interrupted; what was computed is kept")
        raise typer.Exit(ExitCode.INTERRUPTED)
    if monitor.trouble is not None:
        warn(f"the run ended early: {monitor.trouble}")
        raise typer.Exit(ExitCode.INCOMPLETE)


def _chosen(inputs: list[Input], frame: int) -> Record:
    """Structure ``frame`` of all of them.

    Raises:
        CommandError: if there is no such structure, or it cannot be read.
    """
    library = open_library(inputs)
    try:
        place = frame + library.size if frame < 0 else frame
        if not 0 <= place < library.size:
            raise CommandError(f"the input holds {library.size} frames, there is no frame {frame}")
        (record,) = library.read(place, place + 1)
    finally:
        library.close()
    if record.problem is not None:
        raise CommandError(record.problem.at(record.origin).detail)
    if record.origin.remark:
        warn(f"{record.origin}: {record.origin.remark}")
    return record


def _served(calculator: RemoteCalculator) -> dict[str, Any]:
    return {
        "model": calculator.model,
        "version": calculator.version,
        "digest": calculator.digest,
        "approval": calculator.approval,
    }


def _table(summary: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    mean = summary["mean_temperature_k"]
    drift = summary["drift_mev_per_atom_per_ps"]
    error = summary["drift_standard_error_mev_per_atom_per_ps"]
    changes = len(summary["bonds_broken"]), len(summary["bonds_formed"])
    table.add_row("model", f"{summary['model']} {summary['version']}")
    table.add_row("structure", f"{summary['formula']}, {summary['n_atoms']} atoms")
    table.add_row("simulated", f"{summary['simulated_ps']:.3f} of {summary['time_ps']:g} ps")
    if mean is not None:
        table.add_row("mean temperature", f"{mean:.1f} K (target {summary['temperature_k']:g} K)")
    if drift is not None:
        table.add_row("energy drift", f"{drift:+.4f} ± {error:.4f} meV/atom/ps")
    table.add_row("bonds", f"{changes[0]} broken, {changes[1]} formed")
    return table
