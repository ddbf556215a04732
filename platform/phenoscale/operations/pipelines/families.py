"""The comparison of model families: one encoder of each on one screen, beside each other and baselines."""

from typing import Final

from phenoscale.operations.pipelines import links
from phenoscale.operations.pipelines.value import At, Parameter, Pipeline, Section, Step

_MAE = "mae"
_PLAIN = {"loss": {"alpha": 0.0}}
_FAMILY = {_MAE: "mae", "mae_fourier": "mae", "ca_mae": "ca_mae", "mu_net": "mu_net", "wsl": "wsl"}
_ENCODERS = (*_FAMILY, *links.BASELINES)

FAMILIES: Final = Pipeline(
    name="families",
    summary="train every model family on one screen, and compare them",
    description="""Train one encoder of every model family on one screen, and compare them.

As `run full`, with one training section a family in place of `pretrain`, and nothing is registered: masked
autoencoders without and with the Fourier loss, channel-agnostic, MU-Net, weakly supervised, beside an
untrained ViT and pixel statistics. The table at the end sets accuracy and recall beside what each training
cost; how long each trains is for the config to say.""",
    steps=(
        *links.SCREEN_STEPS,
        *(Step("pretrain", name, section=name, locations={"manifest": At("curate")}) for name in _FAMILY),
        *(links.import_baseline(name, like=At("pretrain_mae", "encoder")) for name in links.BASELINES),
        Step(
            "probe",
            locations={
                "encoder": At("pretrain_mae", "encoder"),
                "baselines": {
                    **{name: At(f"pretrain_{name}", "encoder") for name in _FAMILY if name != _MAE},
                    **{name: At(f"import_{name}") for name in links.BASELINES},
                },
                "manifest": At("curate"),
            },
            settings={"name": _MAE},
        ),
        *(links.embed_probed(name, probed=_MAE) for name in _ENCODERS),
        *(links.map_of(name) for name in _ENCODERS),
        links.benchmark_of(_ENCODERS),
        # the page draws no embeddings: one of them says which perturbation belongs to which group
        links.report_on(
            _ENCODERS,
            embeddings=(_MAE,),
            further={
                "pretrains": {name: At(f"pretrain_{name}") for name in _FAMILY},
                "probe": At("probe"),
            },
        ),
    ),
    sections={
        **links.SCREEN_SECTIONS,
        **{
            name: Section("pretrain", defaults=_PLAIN if name == _MAE else {}, fixed={"model.family": family})
            for name, family in _FAMILY.items()
        },
        **links.PROBE_SECTIONS,
        **links.MAP_SECTIONS,
        "benchmark": Section("benchmark", defaults={"reference": _MAE}),
        "report": Section("report", defaults={"shown_map": _MAE}),
    },
    places=links.SCREEN_PLACES,
    parameters=(
        *links.SCREEN_PARAMETERS,
        Parameter("num_steps", tuple(f"{name}.num_steps" for name in _FAMILY)),
        Parameter(
            "num_processes",
            tuple(f"{name}.runtime.num_processes" for name in _FAMILY),
            help="processes of one machine that train together",
        ),
    ),
    examples=("families --config families/demo",),
    tables="phenoscale.operations.running.headline:families_tables",
)
