"""Clients over real sockets: restarts, threads, forks, and NEB with one calculator an image."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB

from forcegate_client import Client, RemoteCalculator
from forcegate_client.md.nve import draw_velocities
from forcegate_client.testing import FakeServer, serve

FORK = """
import os, sys
from ase import Atoms
from forcegate_client import Client

client = Client(sys.argv[1])

def check(lengths):
    for length in lengths:
        atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, length]])
        energy = client.predict(atoms).predictions.energy[0]
        assert abs(energy - 10.0 * (length - 1.5) ** 2) < 1e-9, (length, energy)

check([1.0])
child = os.fork()
if child == 0:
    try:
        check([1.6 + 0.001 * i for i in range(200)])
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)
check([3.0 + 0.001 * i for i in range(200)])
client.close()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def hydrogen(length: float) -> Atoms:
    return Atoms("H2", positions=[[0, 0, 0], [0, 0, length]])


def test_parent_and_child_of_a_fork_both_get_their_own_answers() -> None:
    with serve(FakeServer()) as url:
        done = subprocess.run(
            [sys.executable, "-c", FORK, url], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr


def test_threads_share_one_client() -> None:
    lengths = np.linspace(1.0, 2.0, 64)
    with serve(FakeServer()) as url, Client(url) as client, ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda x: client.predict(hydrogen(x)).predictions.energy, lengths)
        energies = np.array(list(found))[:, 0]
    assert np.allclose(energies, 10.0 * (lengths - 1.5) ** 2, atol=1e-12)


def test_one_connection_is_used_for_all_steps() -> None:
    server, ports = FakeServer(), set()

    def note_port(request: object) -> None:
        ports.add(threading.get_ident())

    with serve(server) as url:
        calculator = RemoteCalculator(url)
        for length in (1.0, 1.1, 1.2, 1.3):
            # The fake serves each connection in a thread of its own.
            server.script = [lambda request: (note_port(request), server.answer(request))[1]]
            atoms = hydrogen(length)
            atoms.calc = calculator
            atoms.get_forces()
        calculator.close()
    assert len(ports) == 1


def test_a_server_that_restarts_does_not_end_the_run() -> None:
    def run(calculator: RemoteCalculator, steps: int) -> tuple[Atoms, VelocityVerlet]:
        atoms = molecule("CH4")
        atoms.calc = calculator
        draw_velocities(atoms, 300.0, np.random.default_rng(1))
        dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
        for _ in itertools.islice(dynamics.irun(steps), 1):
            pass
        return atoms, dynamics

    with Client("http://gateway", transport=FakeServer().transport) as local:
        undisturbed, dynamics = run(RemoteCalculator(client=local), 60)
        dynamics.run(60)

    with serve(FakeServer()) as url:
        calculator = RemoteCalculator(url)
        atoms, dynamics = run(calculator, 60)
        dynamics.run(20)
    port = int(url.rpartition(":")[2])
    # While nothing listens, the step waits; the server comes back on the same port.
    runner = threading.Thread(target=dynamics.run, args=(20,))
    runner.start()
    runner.join(timeout=0.3)
    assert runner.is_alive()
    with serve(FakeServer(), port):
        runner.join(timeout=30)
        assert not runner.is_alive()
    with serve(FakeServer(), port):
        dynamics.run(20)
    calculator.close()
    assert np.array_equal(atoms.positions, undisturbed.positions)


def test_neb_with_threads_and_one_calculator_for_each_image() -> None:
    images = [hydrogen(length) for length in (1.0, 1.2, 1.5, 1.8, 2.0)]
    with serve(FakeServer()) as url:
        for image in images:
            image.calc = RemoteCalculator(url)
        band = NEB(images, parallel=True, method="improvedtangent")
        forces = band.get_forces()
        for image in images:
            image.calc.close()
    assert np.isfinite(forces).all()


def test_images_evaluated_in_threads_keep_their_own_results() -> None:
    images = [hydrogen(length) for length in np.linspace(1.0, 2.0, 8)]
    with serve(FakeServer()) as url, Client(url) as client:
        for image in images:
            image.calc = RemoteCalculator(client=client)
        threads = [threading.Thread(target=image.get_forces) for image in images]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = [image.get_potential_energy() for image in images]
    expected = [10.0 * (image.get_distance(0, 1) - 1.5) ** 2 for image in images]
    assert np.allclose(found, expected, atol=1e-12)
