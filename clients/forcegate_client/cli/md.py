"""``forcegate md``: molecular dynamics of one structure, watched and written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from forcegate_client.cli.console import (
    CommandError,
    ExitCode,
    out_console,
    say,
    warn,
    with_state,
)
from forcegate_client.cli.files import opened, stem_of
from forcegate_client.cli.md_dynamics import steps_by
from forcegate_client.cli.md_folder import check_folder, end_folder, new_folder
from forcegate_client.cli.md_output import LOG
from forcegate_client.cli.md_run import require_motion
from forcegate_client.cli.md_session import MDSession
from forcegate_client.cli.md_settings import (
    EnsembleName,
    MDSettings,
    Velocities,
    ensemble_named,
)
from forcegate_client.cli.options import (
    FormatOption,
    InputArgument,
    LocalOption,
    ModelOption,
    OverwriteOption,
    RepositoryOption,
    SmilesOption,
    UrlOption,
    VersionOption,
    calculator_of,
    connect,
)
from forcegate_client.md.checkpoint import CHECKPOINT, Checkpoint
from forcegate_client.md.drift import DRIFT_LIMIT_MEV_PER_ATOM_PER_PS
from forcegate_client.md.nve import DEFAULT_FRICTION_PER_FS, steps_in
from forcegate_client.md.trajectories import TrajectoryFormat
from forcegate_client.reading.inputs import Input
from forcegate_client.reading.library import open_library
from forcegate_client.reading.record import Record
from forcegate_client.remarks import verdict_remark

__all__ = ["md"]


def md(
    ctx: typer.Context,
    inputs: InputArgument = None,
    smiles: SmilesOption = None,
    format: FormatOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results. Default: <INPUT>_md.")
    ] = None,
    ensemble: Annotated[
        EnsembleName, typer.Option(help="Constant energy, or a thermostat: nvt is langevin.")
    ] = EnsembleName.NVE,
    temperature: Annotated[float, typer.Option(min=0.1, help="Temperature, K.")] = 300.0,
    velocities: Annotated[
        Velocities,
        typer.Option(
            help="auto: those of the input, if it has any and neither --temperature, --relax nor "
            "--equilibrate-ps is given."
        ),
    ] = Velocities.AUTO,
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
    local: LocalOption = False,
    repository: RepositoryOption = None,
    model: ModelOption = "painn_base",
    version: VersionOption = None,
    overwrite: OverwriteOption = False,
    go_on: Annotated[
        bool, typer.Option("--continue", help="Go on with the run in --out, where it stopped.")
    ] = False,
    also: Annotated[
        list[TrajectoryFormat] | None,
        typer.Option(help="Write the trajectory in this format too; may be repeated."),
    ] = None,
    report: Annotated[
        bool,
        typer.Option(
            help="Where steps are taken one by one, tell the server how the run goes: drift and "
            "temperature only."
        ),
    ] = True,
    one_by_one: Annotated[
        bool, typer.Option("--one-by-one", help="Take steps here, and ask for forces at each.")
    ] = False,
) -> None:
    """Run molecular dynamics of one structure: trajectory, log, plot and energy drift."""
    given = {name for name in ctx.params if _is_given(ctx, name)}
    settings = MDSettings(
        ensemble=ensemble_named(ensemble),
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
    formats = [TrajectoryFormat.TRAJ, *dict.fromkeys(also or [])]
    if go_on:
        folder = _folder_of(inputs, out, smiles, format)
        start = Checkpoint.load(folder)
        settings = MDSettings.from_json(start.settings).continued(settings, given)
        if start.step >= steps_in(settings.time_ps, settings.timestep_fs):
            say(f"nothing to do: {settings.time_ps:g} ps are done in {folder}; --time-ps for more")
            return
        formats = [TrajectoryFormat(kind) for kind in start.origin["formats"]]
        atoms, origin = start.atoms.copy(), start.origin
        model, version = start.served["model"], start.served["version"]
        digest = start.served["digest"]
    else:
        with opened(inputs, smiles, format) as files:
            chosen, stem = _chosen(files, frame), stem_of(files)
        assert chosen.atoms is not None
        atoms, digest = chosen.atoms, None
        require_motion(atoms)
        settings = settings.for_velocities(atoms, velocities, given)
        folder, start = out or Path(f"{stem}_md"), None
        check_folder(folder, overwrite, marker=LOG)
        origin = {"file": chosen.source, "frame": chosen.index, "formats": formats}
    with connect(url, local, repository, give_up_after_s=None) as client:
        calculator = calculator_of(client, model, version, digest)
        atoms.calc = calculator
        # Asked before anything is written, so that a structure the model does not know, or a
        # missing server, leaves nothing behind.
        atoms.get_potential_energy()
        if remark := verdict_remark(calculator.approval, "md"):
            warn(f"{model} {calculator.version}: {remark}")
        by, remark = steps_by(atoms, client, one_by_one=one_by_one, start=start)
        if remark:
            say(remark)
        run = MDSession(client, calculator, atoms, settings, origin, formats, report, by)
        if start is not None:
            run.go_on(folder, start)
        else:
            with new_folder(folder):
                run.begin(folder)
    _end(run, folder)


def _end(run: MDSession, folder: Path) -> None:
    summary, stop = run.summary, run.stop
    out_console().print(_table(summary))
    say(f"written to {folder}")
    for text in summary["remarks"]:
        warn(text)
    if stop is not None:
        done = f"{summary['simulated_ps']:.3f} of {summary['time_ps']:g} ps"
        state = f"{done} are kept in {folder}; the same command with --continue goes on"
        raise with_state(stop, state)
    if summary["trouble"] is not None:
        warn(f"the run ended early: {summary['trouble']}")
        raise typer.Exit(ExitCode.INCOMPLETE)
    end_folder(folder)


def _folder_of(
    inputs: list[str] | None, out: Path | None, smiles: list[str] | None, format: str | None
) -> Path:
    """The run that is to go on: ``--out``, the folder that is named as input, or its default."""
    if out is not None:
        return out
    if inputs and len(inputs) == 1 and (Path(inputs[0]) / CHECKPOINT).is_file():
        return Path(inputs[0])
    with opened(inputs, smiles, format) as files:
        return Path(f"{stem_of(files)}_md")


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _chosen(inputs: list[Input], frame: int) -> Record:
    """Structure ``frame`` of all of them.

    Raises:
        CommandError: if there is no such structure, or it cannot be read.
    """
    library = open_library(inputs)
    try:
        place = frame + library.size if frame < 0 else frame
        if not 0 <= place < library.size:
            raise CommandError(
                f"the input holds {library.size} frames, there is no frame {frame}; give --frame "
                f"from 0 to {library.size - 1}, or from the end, -1 for the last"
            )
        (record,) = library.read(place, place + 1)
    finally:
        library.close()
    if record.problem is not None:
        raise CommandError(record.problem.at(record.origin).detail)
    if record.origin.remark:
        warn(f"{record.origin}: {record.origin.remark}")
    return record


def _table(summary: dict[str, Any]) -> Table:
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    mean = summary["mean_temperature_k"]
    drift = summary["drift_mev_per_atom_per_ps"]
    error = summary["drift_standard_error_mev_per_atom_per_ps"]
    changes = len(summary["bonds_broken"]), len(summary["bonds_formed"])
    table.add_row("model", f"{summary['model']} {summary['version']}")
    structure = f"{summary['formula']}, {summary['n_atoms']} atoms"
    table.add_row("structure", Text(structure))
    table.add_row("simulated", f"{summary['simulated_ps']:.3f} of {summary['time_ps']:g} ps")
    if mean is not None:
        target = summary["temperature_k"]
        wanted = "velocities of the input" if target is None else f"target {target:g} K"
        table.add_row("mean temperature", f"{mean:.1f} K ({wanted})")
    if drift is not None:
        limit = f"limit {DRIFT_LIMIT_MEV_PER_ATOM_PER_PS:g}"
        table.add_row("energy drift", f"{drift:+.4f} ± {error:.4f} meV/atom/ps")
        table.add_row("drift within the limit", f"{summary['drift_verdict']} ({limit})")
    if summary["max_novelty"] is not None:
        limit = summary["novelty_limit"]
        known = "" if limit is None else f" (99.9 % of the training set: below {limit:.2f})"
        table.add_row("largest novelty", f"{summary['max_novelty']:.2f}{known}")
    table.add_row("bonds", f"{changes[0]} broken, {changes[1]} formed")
    return table
