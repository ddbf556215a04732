"""The plan of a simulated screen holds what its settings promise."""

import numpy as np
import pytest

from phenoscale.errors import UserError
from phenoscale.screens.simulate.config import SimulateConfig
from phenoscale.screens.simulate.phenotypes import NUM_LATENTS, SHAPE_AND_TEXTURE
from phenoscale.screens.simulate.plan import field_latents, module_pairs, plan_screen


def small(**changes):
    settings = {
        "biology": {
            "num_modules": 4,
            "genes_per_module": 5,
            "num_unexpressed_genes": 8,
            "guides_per_gene": 2,
        },
        "layout": {"num_experiments": 2, "rows": 8, "columns": 12, "negative_controls_per_plate": 8},
    }
    return SimulateConfig(**(settings | changes))


def test_default_screen_plants_at_least_200_pairs_that_are_at_most_three_percent():
    plan = plan_screen(SimulateConfig())
    num_genes = len(plan.genes)
    num_pairs = len(module_pairs(plan.genes))
    assert num_pairs >= 200
    assert num_pairs <= 0.03 * num_genes * (num_genes - 1) / 2
    assert (~plan.genes["is_expressed"]).sum() == 20


def test_every_guide_occurs_once_in_each_experiment_at_a_place_of_its_own():
    plan = plan_screen(small())
    guides = plan.wells[plan.wells["control_type"] == ""]
    assert (guides.groupby("experiment")["guide"].nunique() == 28 * 2).all()
    assert not guides.duplicated(["experiment", "guide"]).any()
    assert not plan.wells.duplicated(["experiment", "plate", "well"]).any()
    negatives = plan.wells[plan.wells["control_type"] == "negative"]
    assert (negatives.groupby(["experiment", "plate"]).size() == 8).all()


def test_genes_of_one_module_point_the_same_way_and_unexpressed_genes_nowhere():
    plan = plan_screen(SimulateConfig())
    unit = plan.latents_GP / np.maximum(np.linalg.norm(plan.latents_GP, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    module = plan.genes["module"].to_numpy()
    same = (module[:, None] == module) & (module != "")[:, None] & ~np.eye(len(module), dtype=bool)
    assert cosines[same].min() > 0.6
    assert not plan.latents_GP[~plan.genes["is_expressed"].to_numpy()].any()


def test_arms_are_balanced_among_expressed_and_unexpressed_genes():
    counts = plan_screen(SimulateConfig()).genes.groupby(["is_expressed", "arm"]).size()
    assert counts[True].max() - counts[True].min() <= 1
    assert counts[False].max() - counts[False].min() <= 1


def test_null_screen_plants_nothing_and_keeps_every_nuisance_and_place():
    full, null = plan_screen(small()), plan_screen(small(null=True))
    assert not null.latents_GP.any()
    assert null.effects == {}
    assert full.wells.equals(null.wells)
    for key, nuisance in full.nuisances.items():
        np.testing.assert_array_equal(nuisance.log_gains, null.nuisances[key].log_gains)
        np.testing.assert_array_equal(nuisance.shift_P, null.nuisances[key].shift_P)


def test_arm_effect_is_shared_by_unexpressed_genes_of_one_arm():
    config = small(
        biology={
            "num_modules": 4,
            "num_unexpressed_genes": 8,
            "guide_noise": 0.0,
            "arm_strength": 1.0,
            "off_target_probability": 0.0,
        }
    )
    plan = plan_screen(config)
    unexpressed = plan.genes[~plan.genes["is_expressed"]]
    for _, genes in unexpressed.groupby("arm"):
        effects = np.stack([plan.effects[f"{gene}_guide_1"] for gene in genes["gene"]])
        np.testing.assert_allclose(effects, effects[:1].repeat(len(effects), axis=0), atol=1e-12)
        assert np.linalg.norm(effects[0]) == pytest.approx(config.biology.effect_strength)


def test_phenotypes_are_shape_and_texture_as_well_as_intensity():
    plan = plan_screen(SimulateConfig())
    expressed = plan.latents_GP[plan.genes["is_expressed"].to_numpy()]
    shape = np.square(expressed[:, : len(SHAPE_AND_TEXTURE)]).sum()
    assert expressed.shape[1] == NUM_LATENTS
    assert 0.5 < shape / np.square(expressed).sum() < 1.0


def test_cells_of_a_field_scatter_around_their_guides_effect():
    plan = plan_screen(
        small(
            layout={
                "cells_per_field": 400.0,
                "rows": 8,
                "columns": 12,
                "negative_controls_per_plate": 8,
                "num_experiments": 1,
            }
        )
    )
    well = plan.wells[plan.wells["control_type"] == "positive"].iloc[0]
    again = field_latents(plan, well, site=1)
    np.testing.assert_array_equal(again, field_latents(plan, well, site=1))
    assert np.linalg.norm(again.mean(axis=0)) > 2.0
    assert again.std(axis=0).mean() == pytest.approx(plan.config.biology.cell_noise, rel=0.1)


@pytest.mark.parametrize("channels", [("DNA", "GFP"), ("DNA", "DNA"), ()])
def test_unknown_or_repeated_channels_are_refused_with_the_list_of_known_ones(channels):
    with pytest.raises(UserError, match="Mito"):
        SimulateConfig(channels=channels)


def test_controls_that_fill_the_plate_are_refused():
    with pytest.raises(UserError, match="leave no room"):
        SimulateConfig(layout={"rows": 4, "columns": 6, "negative_controls_per_plate": 30})
