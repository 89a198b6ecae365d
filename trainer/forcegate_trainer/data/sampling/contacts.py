"""Two molecules in an oriented contact, from touching to 8 Å apart.

Random orientations are mostly no contact at all: what binds is a hydrogen that points at a lone
pair, a halogen at another, a ring on a ring. So a site of one molecule is turned towards a site of
the other, with some freedom, and the molecules are drawn apart along that line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.data import vdw_radii
from numpy.typing import NDArray
from rdkit import Chem
from scipy.spatial.distance import cdist

from forcegate_trainer.data.molecules.structures import atomic_numbers
from forcegate_trainer.data.sampling.geometry import closest_contact, facing, perpendicular
from forcegate_trainer.data.sampling.sites import SiteKind, sites_of, tilted

__all__ = ["CONTACTS", "FARTHEST", "Approach", "ContactKind", "approach"]

Float = NDArray[np.float64]

# Å between the closest atoms of two molecules.
FARTHEST = 8.0
# The teacher's labels of complexes with net charges are not used between these.
CHARGED_GAP = (4.0, 6.0)
STEP = 0.1
MOST_STEPS = 200


@dataclass(frozen=True)
class ContactKind:
    """Which sites meet, and how closely.

    Shares are of the sum of van der Waals radii: no two atoms come closer than ``rest``, but for
    the two of the sites, which may come to ``bond``. ``aside`` is how far (Å) the second site may
    be off the line; ``tilt`` how many degrees off it may point.
    """

    first: SiteKind
    second: SiteKind
    bond: float
    rest: float
    aside: float = 0.0
    tilt: float = 20.0


# Equilibrium distances are 0.70 of the sum of radii in hydrogen bonds of neutral molecules, 0.60
# with ions, 0.80 to 0.86 in halogen bonds, 1 in stacks: all are entered from inside.
CONTACTS = {
    "hydrogen bond": ContactKind(SiteKind.DONOR, SiteKind.ACCEPTOR, 0.62, 0.80),
    "halogen bond": ContactKind(SiteKind.SIGMA_HOLE, SiteKind.ACCEPTOR, 0.76, 0.86, tilt=10.0),
    "stack": ContactKind(SiteKind.FACE, SiteKind.FACE, 0.92, 0.92, aside=2.0, tilt=10.0),
    "T-shape": ContactKind(SiteKind.EDGE, SiteKind.FACE, 0.84, 0.84, aside=0.8),
    "donor on face": ContactKind(SiteKind.DONOR, SiteKind.FACE, 0.76, 0.76, aside=0.8),
    "weak hydrogen bond": ContactKind(SiteKind.EDGE, SiteKind.ACCEPTOR, 0.76, 0.84),
    "any": ContactKind(SiteKind.ANY, SiteKind.ANY, 0.86, 0.86),
}


@dataclass(frozen=True)
class Approach:
    """A first molecule at rest and a second one that comes along a line.

    ``first`` [n,3] and ``second`` [m,3] in Å, the second in touch; ``direction`` [3] leads away;
    ``between_sites`` is the distance (Å) of the two sites then.
    """

    first: Float
    second: Float
    direction: Float
    between_sites: float

    @property
    def contact(self) -> float:
        """The smallest distance (Å) between the molecules in touch."""
        return closest_contact(self.first, self.second)

    def at(self, closest: float) -> Float:
        """Both molecules [n+m,3] with this distance (Å) between their closest atoms."""
        near, far = 0.0, closest + 5.0
        for _ in range(40):
            middle = 0.5 * (near + far)
            if closest_contact(self.first, self.second + middle * self.direction) < closest:
                near = middle
            else:
                far = middle
        return np.concatenate([self.first, self.second + far * self.direction])

    def distances(self, charged: bool, rng: np.random.Generator) -> list[float]:
        """Smallest distances (Å) to look at: three about the minimum, one beyond, one far away.

        Of complexes with net charges none lies where the teacher has no label.
        """
        start = self.contact
        near, far = CHARGED_GAP if charged else (CHARGED_GAP[0], CHARGED_GAP[0])
        drawn = [start + rng.uniform(*step) for step in ((0.0, 0.15), (0.15, 0.5), (0.5, 1.2))]
        drawn = [distance for distance in drawn if distance < near]
        if start + 1.2 < near:
            drawn.append(rng.uniform(start + 1.2, near))
        return [*drawn, rng.uniform(max(far, start), FARTHEST)]


def approach(
    molecules: tuple[Chem.Mol, Chem.Mol],
    positions: tuple[Float, Float],
    kind: ContactKind,
    rng: np.random.Generator,
) -> Approach | None:
    """The molecules (all hydrogens explicit, positions in Å) in touch at random sites of a kind.

    None if one has no such site, or if they cannot touch there.
    """
    candidates = [
        sites_of(mol, where, site, rng)
        for mol, where, site in zip(molecules, positions, (kind.first, kind.second), strict=True)
    ]
    if not all(candidates):
        return None
    site, other = (found[rng.integers(len(found))] for found in candidates)
    direction = tilted(site.direction, kind.tilt, rng)
    aside = kind.aside * rng.random() * perpendicular(direction, rng)
    turned = (positions[1] - other.point) @ facing(other.direction, direction, rng).T
    begin = turned + site.point + aside
    radii = [vdw_radii[atomic_numbers(mol)] for mol in molecules]
    closest = kind.rest * np.add.outer(*radii)
    if site.atom is not None and other.atom is not None:
        closest[site.atom, other.atom] *= kind.bond / kind.rest
    for step in range(MOST_STEPS):
        second = begin + step * STEP * direction
        if np.all(cdist(positions[0], second) >= closest):
            between = float(np.linalg.norm(aside + step * STEP * direction))
            touching = Approach(positions[0], second, direction, between)
            return touching if touching.contact < CHARGED_GAP[0] else None
    return None
