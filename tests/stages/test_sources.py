"""Which modules a stage's key depends on."""

import subprocess
import sys

import pytest

from phenoscale.stages.sources import is_plumbing, library_root, reached_modules, sources_digest
from tests.stages.conftest import write_sources


def test_imports_are_followed_in_every_form_and_at_every_depth(tmp_path):
    root = write_sources(tmp_path)
    assert set(reached_modules("phenoscale.embedding.stage", root=root)) == {
        "phenoscale.embedding",
        "phenoscale.embedding.stage",
        "phenoscale.pixels",
        "phenoscale.pixels.reading",
    }
    assert set(reached_modules("phenoscale.mapping.stage", root=root)) == {
        "phenoscale.mapping",
        "phenoscale.mapping.stage",
        "phenoscale.mapping.steps",
        "phenoscale.stats",
        "phenoscale.stats.moments",
    }


@pytest.mark.parametrize(
    ("text", "reaches_unused"),
    [
        ("import phenoscale.unused\n", True),
        ("import phenoscale.unused as u\n", True),
        ("from phenoscale import unused\n", True),
        ("from .. import unused\n", True),
        ("from ..unused import VALUE\n", True),
        ("class A:\n    def f(self):\n        import phenoscale.unused\n", True),
        ("try:\n    import phenoscale.unused\nexcept ImportError:\n    pass\n", True),
        ("WORKER = 'phenoscale.unused'\n", False),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import phenoscale.unused\n", False),
        ("import typing\nif typing.TYPE_CHECKING:\n    import phenoscale.unused\n", False),
        ("import unused\n", False),
        ("'''See phenoscale.unused for more.'''\n", False),
        ("import phenoscale\n", False),
    ],
)
def test_what_runs_counts_and_what_only_type_checkers_see_does_not(tmp_path, *, text, reaches_unused):
    root = write_sources(tmp_path, {"embedding/stage.py": text})
    reached = reached_modules("phenoscale.embedding.stage", root=root)
    assert ("phenoscale.unused" in reached) == reaches_unused


def test_modules_that_import_each_other_are_each_reached_once(tmp_path):
    root = write_sources(
        tmp_path, {"unused.py": "import phenoscale.other\n", "other.py": "import phenoscale.unused\n"}
    )
    assert set(reached_modules("phenoscale.other", root=root)) == {"phenoscale.other", "phenoscale.unused"}


def test_modules_that_no_import_names_are_named_by_the_stage(tmp_path):
    root = write_sources(tmp_path)
    entry, further = "phenoscale.embedding.stage", ("phenoscale.unused",)
    assert "phenoscale.unused" in reached_modules(entry, *further, root=root)
    assert sources_digest(entry, modules=further, root=root) != sources_digest(entry, root=root)


def test_modules_that_only_move_bytes_or_talk_are_left_out(tmp_path):
    root = write_sources(
        tmp_path,
        {
            "stages/__init__.py": "import phenoscale.unused\n",
            "embedding/stage.py": "import phenoscale.stages\nimport phenoscale.errors\n",
        },
    )
    assert set(reached_modules("phenoscale.embedding.stage", root=root)) == {
        "phenoscale.embedding",
        "phenoscale.embedding.stage",
    }


def _digest(folder, changed=None):
    return sources_digest("phenoscale.embedding.stage", root=write_sources(folder, changed))


def test_the_digest_of_sources_does_not_depend_on_where_they_lie(tmp_path):
    assert _digest(tmp_path / "a") == _digest(tmp_path / "b" / "c")


def test_any_changed_byte_of_a_reached_module_changes_the_digest_and_no_other_does(tmp_path):
    before = _digest(tmp_path / "before")
    assert _digest(tmp_path / "a", {"pixels/reading.py": '"""Reading."""\nGAIN = 2\n'}) != before
    assert _digest(tmp_path / "b", {"pixels/__init__.py": "# a comment\n"}) != before
    assert _digest(tmp_path / "c", {"unused.py": "VALUE = 2\n"}) == before
    assert _digest(tmp_path / "d", {"stats/moments.py": "def mean(): return 2\n"}) == before


def test_versions_of_torch_and_timm_count_only_where_they_are_imported(tmp_path):
    uses = "def run():\n    import {}\n"
    digests = {
        library: _digest(tmp_path / library, {"embedding/stage.py": uses.format(library)})
        for library in ("torch", "numpy")
    }
    program = (
        "import importlib.metadata, sys, pathlib\n"
        "import phenoscale.stages.sources as sources\n"
        "class Newer(importlib.metadata.DistributionFinder):\n"
        "    def find_distributions(self, context):\n"
        "        if context.name in ('torch', 'numpy'):\n"
        "            folder = pathlib.Path(sys.argv[1]) / f'{context.name}-99.0.dist-info'\n"
        "            folder.mkdir(exist_ok=True)\n"
        "            (folder / 'METADATA').write_text(f'Name: {context.name}\\nVersion: 99.0\\n')\n"
        "            yield importlib.metadata.PathDistribution(folder)\n"
        "    def find_spec(self, *args): return None\n"
        "sys.meta_path.insert(0, Newer())\n"
        "for library in ('torch', 'numpy'):\n"
        "    root = pathlib.Path(sys.argv[2]) / library\n"
        "    print(sources.sources_digest('phenoscale.embedding.stage', root=root))\n"
        "assert 'torch' not in sys.modules\n"
    )
    metadata = tmp_path / "metadata"
    metadata.mkdir()
    said = subprocess.run(
        [sys.executable, "-c", program, str(metadata), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert said[0] != digests["torch"]
    assert said[1] == digests["numpy"]


def test_the_modules_that_python_loads_for_a_stage_are_all_reached():
    """An independent answer: import the module in a fresh process and look at what was loaded."""
    entry = "phenoscale.mapping.stage"
    program = f"import sys, {entry}\nprint(*(n for n in sys.modules if n.startswith('phenoscale.')))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert {name for name in loaded.stdout.split() if not is_plumbing(name)} <= set(reached_modules(entry))


def test_an_entry_that_is_not_in_the_tree_is_a_bug(tmp_path):
    with pytest.raises(AssertionError, match=r"module phenoscale\.nowhere is not under"):
        reached_modules("phenoscale.nowhere", root=write_sources(tmp_path))


def test_the_running_library_is_found_where_it_was_imported_from():
    assert (library_root() / "phenoscale" / "stages" / "sources.py").is_file()
