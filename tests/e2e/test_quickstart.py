"""The quick-start notebook runs from its first cell to its last."""

from __future__ import annotations

import jupytext
import nbclient
import pytest

from forcegate_trainer.demo.gateway import running_gateway
from support.readme import ROOT

QUICKSTART = ROOT / "examples" / "quickstart.py"


# What the kernel's libraries warn of among themselves is not ours to mend.
@pytest.mark.filterwarnings("default")
def test_every_cell_works_against_a_gateway(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = jupytext.read(QUICKSTART)
    folder = tmp_path_factory.mktemp("quickstart")
    with running_gateway(ROOT / "model_repository", folder / "gateway.log") as url:
        monkeypatch.setenv("FORCEGATE_URL", url)
        monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
        client = nbclient.NotebookClient(
            notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    printed = "".join(out.text for out in outputs if out.output_type == "stream")
    assert "painn_base" in printed
    assert "meV/atom/ps" in printed
    assert "4 element_unsupported" in printed
    assert any("image/png" in out.get("data", {}) for out in outputs)
