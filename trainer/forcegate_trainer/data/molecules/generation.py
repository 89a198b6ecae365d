"""Random molecules, drawn until there are as many new and acceptable ones as were asked for."""

from collections.abc import Callable, Iterable

from rdkit import Chem

from forcegate_trainer.data.molecules.exclusion import public_test_name
from forcegate_trainer.data.molecules.identity import Molecule, identify
from forcegate_trainer.errors import MoleculeError

__all__ = ["CHARGED_SHARE", "accepted", "draw_new"]

# Of products with a net charge. Lists have all the ions that there are names for, so that without
# this a third of what is made of them would be charged.
CHARGED_SHARE = 0.4
MAX_VAIN_DRAWS = 2000
# What falls apart or explodes, or what no chemist draws; no liquid of them is ever simulated.
UNWANTED = tuple(
    Chem.MolFromSmarts(pattern)
    for pattern in (
        "[N,O]-[N,O]-[N,O,F,Cl,Br,I]",
        "O-O",
        # Hypervalent sulfur chlorides and fluorides are bound well enough to be learned.
        "[O,$([S;!$(S=O);!$(S(F)(F)(F)(F)F)])]-[F,Cl]",
        "[O,S]-[Br,I]",
        "N-[Cl,Br,I]",
        "*=*=*=*",
        "[r3]#*",
        "[#16;v4,v6;!$([#16]=[O,N]);!$([#16](F)(F)(F)(F)F)]",
        "[#16;H;v4,v6]",
        # Bonds between the rarer elements are few in nature.
        "[B,Si,P]-[I]",
        "[B]-[Cl,Br,S,Si,P,B]",
        "[Si]-[Br,P]",
        "[P]-[Br]",
        "[#5,#14]=*",
        "[b,si,p]",
        "[#15;v5;!$([#15]=[O,S,N])]",
        "[#15;X1,X2]",
        "[P;X3]-[P;X3]-*",
        "[Si]-[Si]-[Si]",
        "[Cl,Br,I;!X1]",
        "[BH2,BH3]",
        "[#16]-[#16]-[#16]",
        # Ions that fall apart at once: alkyldiazonium, acylammonium.
        "[CX4]-[N+]#N",
        "[C,S,P](=O)-[N+;X4]",
        # Two charges of one sign that touch.
        "[+]~[+]",
        "[-]~[-]",
    )
)


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
    return any(mol.HasSubstructMatch(pattern) for pattern in UNWANTED)
