"""The notebook of five cells runs, and ends with a picture."""

import pytest

pytestmark = pytest.mark.slow


def test_the_notebook_goes_from_a_live_flow_to_the_picture_of_its_worst_input():
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("zuko")
    from .notebook import notebook

    made = notebook()
    assert len(made.cells) == 5
    run = nbclient.NotebookClient(made, timeout=280, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in run.cells]
    assert "verdict none" in outputs[2][0]["data"]["text/html"]
    assert "critical" in outputs[2][0]["data"]["text/html"]
    picture = outputs[4][0]["data"]["image/svg+xml"]
    assert picture.count("<polyline") == 3
    assert "nan" not in picture
