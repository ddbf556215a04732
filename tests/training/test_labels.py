"""Classes of weakly supervised learning."""

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.loading.fields import open_fields
from phenoscale.training.labels import NEGATIVE_CONTROL, label_fields


@pytest.fixture(scope="module")
def fields(manifest):
    """The opened manifest: 11 wells a plate, 4 of them negative controls, 1 positive, 3 genes of 2 guides."""
    return open_fields(manifest=manifest)


def test_negative_controls_are_one_class_among_the_perturbations_of_training(fields):
    found = label_fields(fields, column="perturbation")
    assert found.classes == ("GENE1", "GENE2", "GENE3", "PLK1", NEGATIVE_CONTROL)
    assert len(found.fields) == len(fields)
    names = np.array(found.classes)[found.labels]
    is_control = found.fields.frame["is_negative_control"].to_numpy(bool)
    assert (names[is_control] == NEGATIVE_CONTROL).all()
    assert (names[~is_control] == found.fields.frame["perturbation"].to_numpy(str)[~is_control]).all()


def test_held_out_classes_have_no_label_and_unlabeled_training_fields_are_left_out(fields):
    frame = fields.frame.copy()
    is_training = (frame["split"] == "train").to_numpy()
    gene = frame["gene"].to_numpy(str)
    frame.loc[is_training & (gene == "GENE1"), "gene"] = None
    frame.loc[is_training & (gene == "GENE2"), "gene"] = ""
    changed = type(fields)(frame=frame, stores=fields.stores, channels=fields.channels)
    found = label_fields(changed, column="gene")
    assert found.classes == ("GENE3", "PLK1", NEGATIVE_CONTROL)
    kept = found.fields.frame
    assert len(kept[kept["split"] == "train"]) == is_training.sum() - 8
    assert len(kept[kept["split"] == "validation"]) == (~is_training).sum()
    unknown = kept["gene"].isin(["GENE1", "GENE2"]).to_numpy(bool)
    assert set(found.labels[unknown]) == {-1}
    assert found.labels[(kept["split"] == "train").to_numpy()].min() == 0


def test_column_that_is_not_there_is_refused_with_those_that_are(fields):
    with pytest.raises(UserError, match=r"no column 'moa'.*perturbation.*set label"):
        label_fields(fields, column="moa")
