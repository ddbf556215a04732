"""What the training code needs to run."""

import subprocess
import sys


def test_training_step_travels_without_config_tracking_pipeline_or_plot_libraries():
    unwanted = ["pydantic", "pandas", "mlflow", "kfp", "dask", "boto3", "matplotlib", "plotly", "kubernetes"]
    program = (
        f"import sys, phenoscale.training.loop; print([name for name in {unwanted} if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_planning_a_training_needs_no_torch():
    program = "import sys, phenoscale.training.stage; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
