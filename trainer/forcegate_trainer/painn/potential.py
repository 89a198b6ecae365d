"""The exported model: a PaiNN in the sums that make it a potential."""

from forcegate_trainer.painn.config import PaiNNConfig
from forcegate_trainer.painn.graph_potential import GraphPotential
from forcegate_trainer.painn.network import PaiNN

__all__ = ["Potential"]


class Potential(GraphPotential):
    """A flat graph in, energies, forces, virials and uncertainties out."""

    def __init__(self, config: PaiNNConfig) -> None:
        super().__init__(PaiNN(config), config.elements, config.readout_width)
