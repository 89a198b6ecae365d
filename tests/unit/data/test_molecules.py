"""Molecules are who they are, belong to one split, and the public test stays out."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from rdkit import Chem

from forcegate_client.dataset import Split
from forcegate_trainer.cli.app import main
from forcegate_trainer.data.molecules.charges import ChargeClass, charge_class
from forcegate_trainer.data.molecules.exclusion import PUBLIC_TEST_MOLECULES, public_test_name
from forcegate_trainer.data.molecules.identity import (
    ELEMENTS,
    Molecule,
    identify,
    parse,
    split_of,
    tautomer_enumerator,
)
from forcegate_trainer.data.molecules.lists import (
    builtin_lists,
    parse_list,
    read_list,
    without_duplicates,
)
from forcegate_trainer.data.molecules.recombination import (
    LARGEST_HEAVY_ATOMS,
    SMALLEST_HEAVY_ATOMS,
    recombine,
)
from forcegate_trainer.data.molecules.table import read_table, write_table
from forcegate_trainer.errors import MoleculeError

SOME = [
    identify(smiles)
    for smiles in ("CCOC(=O)c1ccccc1", "CC(=O)NCc1ccco1", "CNC(=O)CCSC", "CC(=O)NCC[NH3+]")
]


@pytest.fixture(scope="module")
def listed() -> list[Molecule]:
    return [m for name, text in builtin_lists().items() for m in parse_list(text, name)]


def test_the_builtin_lists_are_thousands_of_molecules_and_none_is_listed_twice(
    listed: list[Molecule],
) -> None:
    assert len(listed) > 3000
    assert len(without_duplicates(listed)) == len(listed)
    assert max(m.heavy_atoms for m in listed) <= 50
    assert [m.name for m in listed if public_test_name(m)] == []


def test_the_builtin_lists_have_every_element_and_kind_of_charge(listed: list[Molecule]) -> None:
    elements: Counter[str] = Counter()
    charges: Counter[ChargeClass] = Counter()
    for molecule in listed:
        mol = Chem.AddHs(Chem.MolFromSmiles(molecule.smiles))
        elements.update({atom.GetSymbol() for atom in mol.GetAtoms()})
        charges[charge_class(mol)] += 1
    assert set(elements) == ELEMENTS
    assert min(elements.values()) >= 100
    assert min(charges[kind] for kind in ChargeClass) >= 50


@pytest.mark.parametrize("name", PUBLIC_TEST_MOLECULES)
def test_a_public_test_molecule_is_recognised_in_every_tautomer(name: str) -> None:
    mol = Chem.MolFromSmiles(PUBLIC_TEST_MOLECULES[name])
    for form in (mol, *tautomer_enumerator().Enumerate(mol)):
        assert public_test_name(identify(Chem.MolToSmiles(form))) == name


@pytest.mark.parametrize(
    ("smiles", "name"),
    [
        ("OC=CC=O", "malonaldehyde"),
        ("Oc1ccnc(O)n1", "uracil"),
        ("C[C@@H](C(=O)NC)NC(C)=O", "alanine dipeptide"),
        ("C[C@H](c1ccc(CC(C)C)cc1)C(O)=O", "ibuprofen"),
        ("c1ccc(/N=N/c2ccccc2)cc1", "azobenzene"),
        ("CC(O)=Nc1ccc(O)cc1", "paracetamol"),
        ("C=CO", None),
    ],
)
def test_other_ways_to_write_a_public_test_molecule_are_recognised(
    smiles: str, name: str | None
) -> None:
    assert public_test_name(identify(smiles)) == name


def test_tautomers_and_stereoisomers_share_a_split_key() -> None:
    for first, second in [
        ("CC=O", "C=CO"),
        ("O=c1cccc[nH]1", "Oc1ccccn1"),
        ("C/C=C/C", "C/C=C\\C"),
    ]:
        assert identify(first).split_key == identify(second).split_key
        assert identify(first).split(3) == identify(second).split(3)


@pytest.mark.parametrize(
    "forms",
    [
        ("CC(=O)O", "CC(=O)[O-]"),
        ("NCC(=O)O", "[NH3+]CC(=O)[O-]", "[NH3+]CC(=O)O", "NCC(=O)[O-]"),
        ("CC(C)=O", "CC([O-])=C", "CC(=O)[CH2-]", "CC(C)=[OH+]", "CC(O)=C"),
        ("c1c[nH]cn1", "c1c[nH]c[nH+]1", "c1c[n-]cn1"),
        ("NC(N)=N", "NC(N)=[NH2+]"),
        ("COP(=O)(O)O", "COP(=O)(O)[O-]", "COP(=O)([O-])[O-]"),
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)O"),
        ("CP(C)C", "C[PH+](C)C"),
    ],
)
def test_a_molecule_its_ions_and_its_zwitterion_share_a_split_key(forms: tuple[str, ...]) -> None:
    molecules = [identify(smiles) for smiles in forms]
    assert len({m.split_key for m in molecules}) == 1
    assert [m.charge for m in molecules] == [
        Chem.GetFormalCharge(Chem.MolFromSmiles(smiles)) for smiles in forms
    ]


@pytest.mark.parametrize(
    ("smiles", "name"),
    [
        ("CC(=O)Oc1ccccc1C(=O)[O-]", "aspirin"),
        ("CC[O-]", "ethanol"),
        ("[O-]c1ccccc1C(=O)[O-]", "salicylic acid"),
        ("O=c1cc[n-]c(=O)[nH]1", "uracil"),
        ("C[n+]1c[nH]c2c1c(=O)n(C)c(=O)n2C", "caffeine"),
        ("CC[NH3+]", None),
    ],
)
def test_an_ion_of_a_public_test_molecule_is_recognised(smiles: str, name: str | None) -> None:
    assert public_test_name(identify(smiles)) == name


def test_a_molecule_and_its_zwitterion_are_two_and_a_tautomer_of_either_is_not() -> None:
    kept = without_duplicates(
        identify(s) for s in ("NCC(=O)O", "[NH3+]CC(=O)[O-]", "OC(=O)CN", "[O-]C(=O)C[NH3+]")
    )
    assert [m.smiles for m in kept] == ["NCC(=O)O", "[NH3+]CC(=O)[O-]"]


@pytest.mark.parametrize(
    ("smiles", "kind"),
    [
        ("CCO", ChargeClass.NEUTRAL),
        ("C[N+](=O)[O-]", ChargeClass.NEUTRAL),
        ("CN=[N+]=[N-]", ChargeClass.NEUTRAL),
        ("C[N+](C)(C)[O-]", ChargeClass.NEUTRAL),
        ("[NH3+]CC(=O)[O-]", ChargeClass.ZWITTERION),
        ("C[N+](C)(C)CC(=O)[O-]", ChargeClass.ZWITTERION),
        ("C[NH3+]", ChargeClass.CATION),
        ("[NH3+]CCC([NH3+])C(=O)[O-]", ChargeClass.CATION),
        ("CC(=O)[O-]", ChargeClass.ANION),
    ],
)
def test_charges_that_touch_make_no_zwitterion(smiles: str, kind: ChargeClass) -> None:
    assert charge_class(Chem.MolFromSmiles(smiles)) == kind


def test_the_split_of_a_molecule_never_changes() -> None:
    known = {"O": Split.TRAIN, "CCN": Split.VALIDATION, "C1CCOC1": Split.TRAIN}
    known |= {"C[N+](=O)[O-]": Split.TRAIN, "Clc1ccccc1": Split.TRAIN}
    assert {smiles: identify(smiles).split(0) for smiles in known} == known


@pytest.mark.parametrize("smiles", ["N", "[NH4+]", "CO", "CN", "C[NH3+]", "[H][H]", "FF", "OO"])
def test_molecules_that_are_a_group_of_their_own_are_always_trained_on(smiles: str) -> None:
    found = identify(smiles)
    assert {found.split(seed) for seed in range(40)} == {Split.TRAIN}


def test_the_splits_hold_their_shares() -> None:
    counts = dict.fromkeys(Split, 0)
    for number in range(10_000):
        counts[split_of(f"KEY{number}", 0)] += 1
    for split in (Split.VALIDATION, Split.TEST):
        assert 320 <= counts[split] <= 480


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("C1CC broken", "not a valid SMILES"),
        ("[O-]P([O-])([O-])=O phosphate", r"charge -3; expected -2 to \+2"),
        ("[Na+] sodium", "an ion of one atom"),
        ("[Cl-] chloride", "an ion of one atom"),
        ("[H-] hydride", "an ion of one atom"),
        ("C[CH2] radical", "unpaired electrons"),
        ("CC[Se]C selenide", "with Se; expected only the elements B, Br, C, Cl, F, H, I, N, O, P"),
        ("O.O pair", "one connected molecule"),
    ],
)
def test_an_unusable_line_is_refused_with_its_number(
    line: str, complaint: str, tmp_path: Path
) -> None:
    path = tmp_path / "list.smi"
    path.write_text(f"# comment\nCCN amine\n\n{line}\n")
    with pytest.raises(MoleculeError, match=rf"list\.smi, line 4: received .*{complaint}"):
        read_list(path)


def test_names_are_separated_by_any_white_space() -> None:
    listed = parse_list("CCN\tethyl amine \n  CCCl   chloride\nCS\n", "list")
    assert [m.name for m in listed] == ["ethyl amine", "chloride", "CS"]


def test_zwitterions_and_ions_of_several_atoms_are_molecules() -> None:
    for smiles in ("C[N+](=O)[O-]", "CN=[N+]=[N-]", "[NH3+]CC(=O)[O-]", "[NH4+]", "[OH-]"):
        assert parse(smiles).GetNumAtoms() > 0


def test_recombination_depends_on_the_seed_alone() -> None:
    first, again, other = (recombine(SOME, 6, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_recombined_molecules_are_new_of_bounded_size_and_not_the_public_test() -> None:
    # Fragments of these make toluene, salicylic acid and aspirin.
    made_of = [identify(s) for s in ("COc1ccccc1C(=O)OC", "CC(=O)OCc1ccccc1", "CCOCC")]
    products = recombine(made_of, 8, 0)
    keys = [product.split_key for product in products]
    assert len(set(keys)) == 8
    assert not set(keys) & {m.split_key for m in made_of}
    for product in products:
        assert SMALLEST_HEAVY_ATOMS <= product.heavy_atoms <= max(LARGEST_HEAVY_ATOMS)
        assert public_test_name(product) is None


def test_more_recombinations_than_there_are_is_refused() -> None:
    with pytest.raises(MoleculeError, match="ask for fewer"):
        recombine([identify("COC")], 50, 0)


def test_a_table_gives_back_the_molecules(tmp_path: Path) -> None:
    write_table(tmp_path / "m.csv", SOME, 5)
    assert read_table(tmp_path / "m.csv", 5) == SOME
    write_table(tmp_path / "m.smi", SOME, 5)
    assert read_table(tmp_path / "m.smi", 5) == SOME


def test_a_table_with_other_splits_is_refused_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    write_table(path, SOME, 0)
    text = path.read_text().replace(",train", ",test", 1)
    path.write_text(text)
    with pytest.raises(MoleculeError, match=r"m\.csv, line 2: received split 'test'"):
        read_table(path, 0)


@pytest.mark.parametrize("suffix", ["csv", "smi"])
def test_a_public_test_molecule_is_not_sampled(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"m.{suffix}"
    write_table(path, [identify("Cc1ccccc1", "methylbenzene")], 0)
    with pytest.raises(MoleculeError, match="toluene, a public test molecule"):
        read_table(path, 0)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int | str | None:
    """The exit status of ``forcegate-train``."""
    monkeypatch.setattr(sys, "argv", ["forcegate-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        main()
    return exit_.value.code


def test_the_command_leaves_out_duplicates_and_the_public_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.smi").write_text("CCO ethanol\nCCN amine\nNCC again\nCCOC(C)=O ester\n")
    arguments = ["molecules", tmp_path / "in.smi", "--out", tmp_path / "out.csv"]
    assert command(monkeypatch, *arguments) == 0
    written = read_table(tmp_path / "out.csv", 0)
    assert [m.smiles for m in written] == ["CCN", "CCOC(C)=O"]
    told = " ".join(capsys.readouterr().err.split())
    assert "1 duplicates, 1 public test molecules" in told


def test_the_command_refuses_bad_input_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.smi").write_text("CCN amine\nC(C broken\n")
    arguments = ["molecules", tmp_path / "in.smi", "--out", tmp_path / "out.csv"]
    assert command(monkeypatch, *arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("error (molecule_invalid): ")
    assert "in.smi, line 2" in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()
