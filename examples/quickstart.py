# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Quick start
#
# Energies, forces, a relaxation and molecular dynamics from a gateway, in a notebook. This is
# the notebook as text; `jupytext --to ipynb examples/quickstart.py` makes the other form of it.
#
# It asks the gateway that `FORCEGATE_URL` names, and one on this machine if nothing does:
# `forcegate-serve --port 8000` starts it.

# %%
from forcegate_client import Client

client = Client()
for model in client.models():
    print(model["name"], model["default_version"], model["status"])

# %% [markdown]
# ## One molecule
#
# The calculator fetches energy and forces in one round trip. With `uncertainty=True` it also says
# how sure the model is of the energy (eV, a standard deviation), and how far the structure is from
# what it was trained on: about 1 is ordinary.

# %%
import numpy as np
from ase.build import molecule

from forcegate_client import RemoteCalculator

atoms = molecule("CH3CH2OH")
atoms.calc = RemoteCalculator(client=client, model="painn_base", uncertainty=True)
print(f"{atoms.get_potential_energy():.3f} eV")
print(f"largest force {np.abs(atoms.get_forces()).max():.3f} eV/Å")
print(f"± {atoms.calc.energy_uncertainty:.3f} eV, novelty {atoms.calc.max_novelty:.2f}")

# %% [markdown]
# ## Relax it
#
# Anything of ASE works on it: here an optimiser, and nothing in it knows of a server.

# %%
from ase.optimize import LBFGS

LBFGS(atoms, logfile=None).run(fmax=0.02)
print(f"{atoms.get_potential_energy():.3f} eV")

# %% [markdown]
# ## Move it
#
# Molecular dynamics at constant energy. The monitor stops a run that leaves physics, and computes
# the drift of the total energy with its standard error; for a verdict, run 10 ps and more.

# %%
from ase import units
from ase.md.verlet import VelocityVerlet

from forcegate_client import MDMonitor
from forcegate_client.nve import draw_velocities

draw_velocities(atoms, temperature_K=600, rng=np.random.default_rng(0))
dynamics = VelocityVerlet(atoms, 0.5 * units.fs)
energies: list[float] = []
dynamics.attach(lambda: energies.append(atoms.get_total_energy()))
with MDMonitor(dynamics, temperature_K=300) as monitor:
    dynamics.attach(monitor)
    dynamics.run(400)
print(f"{monitor.last.temperature_k:.0f} K, drift {monitor.drift()}")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(6, 2.5))
axes.plot(0.5 * np.arange(len(energies)), 1000 * (np.array(energies) - energies[0]))
axes.set_xlabel("time / fs")
axes.set_ylabel("change of total energy / meV")
figure.tight_layout()

# %% [markdown]
# ## Many structures at once
#
# A stretched bond, computed in one request. A structure that cannot be computed gets a problem
# document of its own, and the rest is served.

# %%
frames = []
for stretch in (0.0, 0.1, 0.2, 0.3):
    frame = atoms.copy()
    frame.set_distance(0, 1, frame.get_distance(0, 1) + stretch, fix=0)
    frames.append(frame)
frames.append(molecule("AlCl3"))
answer = client.predict(frames, model="painn_base", on_error="partial")
print(np.round(answer.predictions.energy - answer.predictions.energy.min(), 3), "eV")
for index, problem in answer.predictions.problems.items():
    print(index, problem["code"], "-", problem["detail"])

# %%
client.close()
