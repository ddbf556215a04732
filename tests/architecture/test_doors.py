"""Each outside system has one door, and a config can be read without opening any of them."""

from tests.architecture.tree import ROOT, imported_names, library_modules, parsed, python_files, shown

# package -> where it may be imported, as prefixes of module names
DOORS = {
    "mlflow": ("phenoscale.tracking", "phenoscale.registry"),
    "kfp": ("phenoscale.cluster", "components", "pipelines"),
    "kubernetes": ("phenoscale.cluster", "components", "pipelines"),
    "boto3": ("phenoscale.storage",),
    "botocore": ("phenoscale.storage",),
    "matplotlib": ("phenoscale.reports",),
    "plotly": ("phenoscale.reports",),
}
HEAVY = {
    "torch", "torchvision", "timm", "mlflow", "kfp", "kubernetes", "matplotlib", "plotly", "sklearn", "scipy",
    "tensorstore", "boto3", "dask", "distributed", "pandas", "pyarrow",
}  # fmt: skip


def _modules():
    yield from library_modules()
    for path in python_files("components", "pipelines"):
        yield ".".join(path.relative_to(ROOT).with_suffix("").parts), path


def test_each_outside_system_is_imported_behind_its_door_only():
    strays = [
        f"{shown(path)}:{line} imports {name}"
        for module, path in _modules()
        for name, line in imported_names(parsed(path))
        if not module.startswith(DOORS.get(name.partition(".")[0], ("",)))
    ]
    assert strays == []


def test_drawing_has_one_door():
    doors = {
        module
        for module, path in library_modules()
        for name, _ in imported_names(parsed(path))
        if name.partition(".")[0] in ("matplotlib", "plotly")
    }
    assert {door.rpartition(".")[0] for door in doors} <= {
        "phenoscale.reports",
        "phenoscale.reports.figures",
    }, doors


def test_a_config_module_imports_nothing_heavy():
    heavy = [
        f"{shown(path)}:{line} imports {name}"
        for module, path in library_modules()
        if module.endswith(".config") or module.startswith("phenoscale.config.")
        for name, line in imported_names(parsed(path))
        if name.partition(".")[0] in HEAVY
    ]
    assert heavy == []


def test_stages_without_a_model_do_not_load_torch_when_imported():
    """A stage whose output is there is found by its key alone; torch is paid for when there is work."""
    eager = [
        f"{shown(path)}:{node.lineno}"
        for module, path in library_modules()
        if module.endswith(".stage")
        for node in parsed(path).body
        for name, _ in imported_names(node)
        if name.partition(".")[0] in {"torch", "timm", "mlflow", "matplotlib", "plotly"}
    ]
    assert eager == []
