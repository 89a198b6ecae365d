"""What aserpc and ASE find by the names of entry points, as JSON."""

import json
from importlib import import_module
from importlib.metadata import entry_points

from ase._4.plugins import plugins
from ase.build import molecule

(provider,) = (
    point.load() for point in entry_points(group="aserpc.calculators") if point.name == "forcegate"
)
energies = {}
for name, told in provider().items():
    module, _, factory = told["factory"].partition(":")
    atoms = molecule("H2O")
    atoms.calc = getattr(import_module(module), factory)(model="painn_tiny", use="")
    energies[name] = atoms.get_potential_energy()
print(
    json.dumps(
        {
            "aserpc": energies,
            "ase": {
                plugin.name: plugin.implementation.__name__
                for plugin in plugins
                if plugin.name.startswith("forcegate")
            },
        }
    )
)
