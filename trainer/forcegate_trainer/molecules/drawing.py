"""Random molecules, drawn until there are as many new and acceptable ones as were asked for."""

from collections.abc import Callable, Iterable

from rdkit import Chem

from forcegate_trainer.errors import MoleculeError
from forcegate_trainer.molecules.exclusion import public_test_name
from forcegate_trainer.molecules.identity import Molecule, identify

__all__ = ["accepted", "draw_new"]

MAX_VAIN_DRAWS = 2000
# Chains of three that fall apart or explode; no liquid of them is ever simulated.
UNWANTED = tuple(
    Chem.MolFromSmarts(pattern)
    for pattern in (
        "[N,O]-[N,O]-[N,O,F,Cl]",
        "[O,S]-[F,Cl]",
        "N-Cl",
        "*=*=*=*",
        "[r3]#*",
        "[#16;v4,v6;!$([#16]=[O,N])]",
    )
)
# Hypervalent sulfur chlorides and fluorides are bound well enough to be learned.
BOUND_WELL = Chem.MolFromSmarts("[S](=O)-[F,Cl]")


def draw_new(
    draw: Callable[[], Molecule | None],
    known: Iterable[str],
    count: int,
    kind: str,
    on_progress: Callable[[int], None],
) -> list[Molecule]:
    """``count`` products of ``draw``, each with a split key of its own that is not ``known``.

    Raises:
        MoleculeError: if draws in a row bring nothing new; it calls the molecules ``kind``.
    """
    taken = set(known)
    products: list[Molecule] = []
    vain = 0
    while len(products) < count:
        vain += 1
        if vain > MAX_VAIN_DRAWS:
            raise MoleculeError(
                f"received a wish for {count} {kind}, but {MAX_VAIN_DRAWS} draws in a row gave "
                f"only {len(products)}; ask for fewer, or give more molecules"
            )
        product = draw()
        if product is not None and product.split_key not in taken:
            taken.add(product.split_key)
            products.append(product)
            on_progress(len(products))
            vain = 0
    return products


def accepted(mol: Chem.Mol, max_heavy_atoms: int) -> Molecule | None:
    """The sanitized ``mol``, unless it is of no use: too large, unstable, or for the public test.

    Raises:
        MoleculeError: if students cannot learn it at all.
    """
    if not 2 <= mol.GetNumHeavyAtoms() <= max_heavy_atoms or _unwanted(mol):
        return None
    product = identify(Chem.MolToSmiles(mol))
    return None if public_test_name(product) is not None else product


def _unwanted(mol: Chem.Mol) -> bool:
    # Sulfur, then its halogen: the pair that would otherwise count as unwanted.
    fine = {frozenset((match[0], match[2])) for match in mol.GetSubstructMatches(BOUND_WELL)}
    for pattern in UNWANTED:
        for match in mol.GetSubstructMatches(pattern):
            if frozenset(match) not in fine:
                return True
    return False
