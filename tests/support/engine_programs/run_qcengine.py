"""QCEngine computes energy, gradient and Hessian; what it says of them, as JSON."""

import json
import os

import numpy as np
import qcengine
from qcelemental.models import Molecule

from forcegate_client.integrations.qcengine import register

register()
register()
url = os.environ.get("FORCEGATE_URL")
keywords = {"url": url} if url else {"local": True}
water = {"symbols": ["O", "H", "H"], "geometry": [0, 0, 0, 0, 0, 1.81, 0, 1.75, -0.45]}


def computed(driver: str, **more: object) -> object:
    molecule = Molecule(**water | more.pop("molecule", {}))
    asked = {"molecule": molecule, "driver": driver, "keywords": keywords} | more
    return qcengine.compute({"model": {"method": os.environ["MODEL"]}} | asked, "forcegate")


found = {driver: computed(driver) for driver in ("energy", "gradient", "hessian")}
refused = {
    "driver": computed("properties"),
    "model": computed("energy", model={"method": "nobody"}),
    "spin": computed("energy", molecule={"molecular_multiplicity": 3}),
    "keyword": computed("energy", keywords={"basis": "none"}),
}
print(
    json.dumps(
        {name: np.asarray(result.return_result).tolist() for name, result in found.items()}
        | {f"no {name}": result.error.error_message for name, result in refused.items()}
        | {"served": found["energy"].extras["forcegate"]["model"]}
    )
)
