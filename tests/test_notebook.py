"""The example notebook runs from top to bottom in a kernel of its own, and is stored without results."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "opencodi.ipynb"


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="needs pip install 'opencodi[dev]'")
    nbclient = pytest.importorskip("nbclient", reason="needs pip install 'opencodi[dev]'")
    pytest.importorskip("ipykernel", reason="needs pip install 'opencodi[dev]'")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "store it without results"
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(shown) == 7
    assert (tmp_path / "out" / "video-0.mp4").is_file()
