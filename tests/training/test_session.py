"""What one process writes at the end, and what the training code needs to run."""

import subprocess
import sys

from phenoscale.models.mae import MaskedAutoencoder
from phenoscale.training.session import forward_flops
from tests.support.pretraining import tiny_model


def block_flops(*, tokens, dim, hidden):
    """Two operations a multiplication: q, k, v, output, both products of attention, the MLP."""
    return 2 * tokens * (4 * dim * dim + 2 * dim * hidden) + 2 * 2 * tokens * tokens * dim


def test_flops_of_a_forward_pass_in_closed_form():
    config = tiny_model()  # 16 patches of 3 x 8 x 8 pixels, 4 of them kept; one class token
    pixels, encoder, decoder = 3 * 8 * 8, 1 + 4, 1 + 16
    expected = (
        2 * 4 * pixels * 16
        + 2 * block_flops(tokens=encoder, dim=16, hidden=64)
        + 2 * encoder * 16 * 16
        + block_flops(tokens=decoder, dim=16, hidden=64)
        + 2 * 16 * 16 * pixels
    )
    assert forward_flops(MaskedAutoencoder(config)) == expected


def test_training_step_travels_without_config_tracking_pipeline_or_plot_libraries():
    unwanted = ["pydantic", "mlflow", "kfp", "dask", "boto3", "matplotlib", "plotly", "kubernetes"]
    program = (
        f"import sys, phenoscale.training.loop; print([name for name in {unwanted} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_planning_a_training_needs_no_torch():
    program = "import sys, phenoscale.training.stage; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
