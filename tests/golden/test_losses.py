"""A change of the training code that moves a loss shows here."""

import pytest

from tests.golden.loss_curves import FOLDER, TRAININGS, loss_curve, read_curve
from tests.support.screens import make_tiny_manifest, make_tiny_store


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """The screen that the curves were made on."""
    place = tmp_path_factory.mktemp("golden")
    return make_tiny_manifest(place / "manifest", make_tiny_store(place / "store"))


@pytest.mark.parametrize("name", TRAININGS)
def test_twenty_steps_of_every_family_have_the_losses_on_file(manifest, tmp_path, name):
    assert loss_curve(name, manifest=manifest, folder=tmp_path) == pytest.approx(read_curve(name), rel=1e-4)


def test_every_curve_on_file_belongs_to_a_training():
    assert {path.stem for path in FOLDER.glob("*.json")} == set(TRAININGS)
