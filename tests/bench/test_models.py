"""The benches of models run where only the training's own packages are, and compare what is equal."""

import json
import subprocess
import sys

import pytest
import torch

from phenoscale.models.families import build_model, model_config
from tests.architecture.tree import ROOT

# What a GPU machine does not have: everything but torch, timm, numpy, pyarrow, tensorstore, safetensors.
ABSENT = (
    *(
        "pydantic",
        "pandas",
        "mlflow",
        "scipy",
        "sklearn",
        "matplotlib",
        "plotly",
        "boto3",
        "rich",
        "tifffile",
    ),
    *("imagecodecs", "kfp", "kubernetes", "dask", "distributed", "threadpoolctl"),
)
PROGRAM = """
import runpy, sys
from importlib.machinery import PathFinder

class FewerPackages(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {absent} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = FewerPackages
sys.path.insert(0, "bench")
sys.argv = {words}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_bench(script, *words):
    program = PROGRAM.format(absent=ABSENT, words=[f"bench/{script}", *map(str, words)])
    environment = {"PYTHONPATH": "platform", "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("script", ["train.py", "infer.py"])
def test_bench_runs_on_a_cpu_without_the_platforms_other_packages(script, tmp_path):
    file = tmp_path / "record.json"
    words = ("--sizes", "tiny", "--seconds", 0.05, "--rounds", 1, "--micro-batch", 4, "--output", file)
    text = run_bench(script, *words, "--device", "cpu")
    record = json.loads(file.read_text())
    assert record["clock"].startswith("processor time")
    assert {"device", "torch", "date", "commit", "threads"} <= record["machine"].keys()
    ours, eager = record["results"]
    assert (ours["path"], eager["path"]) == ("ours", "eager")
    assert ours["times_eager"] == pytest.approx(ours["crops_per_second"] / eager["crops_per_second"])
    flops_of_a_crop = ours["flops_per_second"] / ours["crops_per_second"]
    assert flops_of_a_crop == pytest.approx(eager["flops_per_second"] / eager["crops_per_second"])
    assert ours["mfu"] == pytest.approx(ours["flops_per_second"] / record["limit"]["flops_per_second"])
    assert "tiny ours" in text


@pytest.fixture
def parts(monkeypatch):
    """The benches' shared folder can be imported, as it can by the scripts beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))


@pytest.mark.parametrize("changes", [{}, {"block": "parallel", "qk_norm": True, "layer_scale_init": 0.1}])
def test_eager_reference_is_the_same_model(parts, changes):
    from parts.eager import as_timm_blocks

    config = model_config("mae", size="tiny", num_channels=3, **changes)
    ours, eager = build_model(config, seed=0).eval(), as_timm_blocks(build_model(config, seed=0)).eval()
    own = {type(block).__module__ for block in eager.blocks()}
    assert own == {"timm.models.vision_transformer"}
    crops = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.rand(2, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(
            ours(crops, noise).prediction_BLP, eager(crops, noise).prediction_BLP, atol=1e-5, rtol=1e-5
        )


def test_micro_batch_is_halved_until_it_fits(parts):
    from parts.measure import with_fitting_micro_batch

    tried = []

    def measure(micro_batch):
        tried.append(micro_batch)
        if micro_batch > 5:
            raise torch.OutOfMemoryError("full")
        return micro_batch

    assert with_fitting_micro_batch(measure, start=32) == 4
    assert tried == [32, 16, 8, 4]


def test_bandwidth_on_paper_follows_from_parameters_and_operations(parts):
    from parts.paper import TRAININGS, most_gpus, step_of

    largest = next(training for training in TRAININGS if training.size == "G/8")
    step = step_of(largest, num_gpus=256)
    num_parameters, training_flops = 1_867_979_136, 3 * 1036.96e9
    assert step.crops_per_gpu == 32  # science.md 1.6: 8,192 over 256 H100
    assert step.compute_seconds == pytest.approx(32 * training_flops / (0.5 * 989e12), rel=1e-4)
    assert step.ddp_bytes == pytest.approx(2 * 255 / 256 * 4 * num_parameters)
    backward = 2 / 3 * step.compute_seconds
    assert most_gpus(largest)["ddp"] == pytest.approx(256 * 50e9 * backward / step.ddp_bytes)


def test_overlap_is_the_share_of_collectives_inside_the_backward_pass(parts):
    import importlib

    scaling = importlib.import_module("scaling")

    class Event:
        def __init__(self, name, start, end):
            self.name = name
            self.time_range = type("Range", (), {"start": start, "end": end})()

    backward = "autograd::engine::evaluate_function: AddmmBackward0"
    events = [Event(backward, 0, 10), Event(backward, 8, 20), Event("gloo:all_reduce", 5, 15)]
    assert scaling.overlap_of(events) == 1.0
    assert scaling.overlap_of([*events, Event("gloo:all_reduce", 15, 35)]) == pytest.approx(15 / 30)
    assert scaling.overlap_of(events[:2]) is None


def test_tables_of_the_scaling_page_are_what_the_closed_forms_say(parts):
    from parts.paper import paper_tables

    page = (ROOT / "docs" / "scaling.md").read_text()
    for table in paper_tables().split("\n\n"):
        assert table in page, "the closed forms changed; copy what `python bench/scaling.py --paper` prints"
