"""What changes what: a changed line in each kind of module changes exactly the keys that depend on it."""

import os
import shutil
import subprocess
import sys

import pytest

from phenoscale.benchmarks.catalog import load_all
from phenoscale.mapping.steps.table import step_class
from phenoscale.operations.stage_table import STAGES
from phenoscale.stages import sources
from phenoscale.stages.sources import PLUMBING, library_root, sources_digest
from tests.architecture.tree import library_modules

# what run_stage is told where it is not the module of the stage's function
STARTS = {
    "benchmark": (
        "phenoscale.benchmarks.stage",
        *(module for found in load_all().values() if found.in_stage for module in found.modules),
    ),
    "ingest": ("phenoscale.screens.ingest.stage", "phenoscale.screens.ingest.readers.table"),
    "map": ("phenoscale.mapping.stage", *(step_class(name).__module__ for name in ("tvn", "aggregate"))),
    "register": ("phenoscale.registry.registration",),
    "promote": ("phenoscale.registry.promotion",),
}
NO_STAGE: set[str] = set()
CHANGES = {
    "schema/rows.py": {"probe", "map", "benchmark", "register", "promote", "report"},
    "screens/simulate/stage.py": {"simulate"},
    "screens/writer.py": {"ingest"},
    "screens/quality.py": {"ingest"},
    "screens/ingest/readers/table.py": {"ingest"},
    "screens/ingest/readers/bbbc021.py": NO_STAGE,
    "screens/ingest/readers/known.py": NO_STAGE,
    "screens/store.py": {"curate", "pretrain", "probe", "embed", "report"},
    "curation/rules.py": {"curate"},
    "loading/crops.py": {"pretrain"},
    "models/vit.py": {"pretrain", "import", "probe", "embed"},
    "models/mae.py": {"pretrain"},
    "training/ranks.py": {"pretrain"},
    "inference/field_means.py": {"probe", "embed"},
    "probing/scores.py": {"probe"},
    "mapping/chain.py": {"map", "benchmark"},
    "mapping/steps/tvn.py": {"map"},
    "mapping/steps/position.py": {"benchmark"},  # plate positions; the map of STARTS has no such step
    "stats/cosines.py": {"benchmark"},
    "benchmarks/relations/recall.py": {"benchmark"},
    "registry/store.py": {"register", "promote"},
    "reports/compose.py": {"report"},
    # plumbing and doors: no result comes from them
    "errors.py": NO_STAGE,
    "files.py": NO_STAGE,
    "references.py": NO_STAGE,
    "logs.py": NO_STAGE,
    "distributed.py": NO_STAGE,
    "config/load.py": NO_STAGE,
    "storage/s3.py": NO_STAGE,
    "stages/run.py": NO_STAGE,
    "stages/output.py": NO_STAGE,
    "tracking/tracker.py": NO_STAGE,
    "operations/execute.py": NO_STAGE,
    "operations/launchers/processes.py": NO_STAGE,
    "recipes/__init__.py": NO_STAGE,
    "compiled/__init__.py": NO_STAGE,
    "registry/fetch.py": NO_STAGE,
    "cluster/__init__.py": NO_STAGE,
    "cli/main.py": NO_STAGE,
}


@pytest.fixture(scope="module")
def copied_library(tmp_path_factory):
    """A copy of the library that a test may write to."""
    root = tmp_path_factory.mktemp("copied")
    ignored = shutil.ignore_patterns("*.pyc", "__pycache__")
    shutil.copytree(library_root() / "phenoscale", root / "phenoscale", ignore=ignored)
    return root


def _digests(root):
    sources._sources_digest.cache_clear()
    digests = {}
    for name, stage in STAGES.items():
        entry, *further = STARTS.get(name, (stage.function.partition(":")[0],))
        digests[name] = sources_digest(entry, modules=further, root=root)
    return digests


def test_a_changed_line_changes_exactly_the_keys_of_the_stages_that_it_computes(copied_library):
    before = _digests(copied_library)
    changed = {}
    for name in CHANGES:
        file = copied_library / "phenoscale" / name
        text = file.read_text()
        file.write_text(text + "# one more line\n")
        after = _digests(copied_library)
        changed[name] = {stage for stage in STAGES if after[stage] != before[stage]}
        file.write_text(text)
    assert changed == CHANGES
    sources._sources_digest.cache_clear()


def test_every_package_of_the_library_is_in_the_table_so_that_none_is_plumbing_unseen():
    packages = {name.split(".")[1] for name, _ in library_modules() if "." in name}
    in_table = {name.partition("/")[0].removesuffix(".py") for name in CHANGES}
    assert packages - {"__main__"} == in_table


def test_what_counts_as_plumbing_computes_nothing_and_is_on_the_list_that_a_person_wrote():
    silent = [name.removesuffix(".py").replace("/", ".") for name, stages in CHANGES.items() if not stages]
    assert {
        part for part in PLUMBING if any(f"{name}.".startswith(f"{part}.") for name in silent)
    } == PLUMBING


def test_another_version_of_what_the_plumbing_writes_changes_a_key(copied_library):
    file = copied_library / "phenoscale" / "stages" / "sources.py"
    text = file.read_text()
    line = "OUTPUT_FORMAT: Final = "
    version = int(text.partition(line)[2].partition("\n")[0])
    file.write_text(text.replace(f"{line}{version}", f"{line}{version + 1}"))
    entry = "phenoscale.mapping.stage"
    program = f"from phenoscale.stages.sources import sources_digest; print(sources_digest({entry!r}))"
    environment = {**os.environ, "PYTHONPATH": str(copied_library)}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    file.write_text(text)
    assert said.stdout.strip() != sources_digest(entry, root=copied_library)
