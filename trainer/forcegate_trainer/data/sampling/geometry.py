"""Vectors, rotations and distances of rigid molecules."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.spatial.transform import Rotation

__all__ = ["closest_contact", "facing", "perpendicular", "random_rotation", "unit"]

Float = NDArray[np.float64]


def unit(vector: Float) -> Float:
    """The vector [3] at length one."""
    return np.asarray(vector / np.linalg.norm(vector))


def perpendicular(direction: Float, rng: np.random.Generator) -> Float:
    """A random unit vector at right angles to a unit vector [3]."""
    drawn = rng.standard_normal(3)
    return unit(drawn - (drawn @ direction) * direction)


def random_rotation(rng: np.random.Generator) -> Float:
    """A rotation matrix [3,3], uniform over all rotations."""
    return np.asarray(Rotation.random(random_state=rng).as_matrix())


def facing(own: Float, other: Float, rng: np.random.Generator) -> Float:
    """A rotation [3,3] of the unit vector ``own`` against ``other``, by a random angle about it."""
    return np.asarray(_axes(-other, rng).T @ _axes(own, rng))


def _axes(first: Float, rng: np.random.Generator) -> Float:
    """Rows [3,3]: a unit vector and two random ones that make a right-handed frame with it."""
    second = perpendicular(first, rng)
    return np.stack([first, second, np.cross(first, second)])


def closest_contact(first: Float, second: Float) -> float:
    """The smallest distance (Å) between two molecules [n,3] and [m,3]."""
    return float(cdist(first, second).min())
