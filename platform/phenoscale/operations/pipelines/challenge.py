"""The candidate against the champion, on the same screens."""

from typing import Final

from phenoscale.operations.pipelines import links
from phenoscale.operations.pipelines.value import At, Given, Parameter, Pipeline, Place, Section, Step
from phenoscale.schema.rows import RECALL, RECALL_DIFFERENCE

_CANDIDATE, _CHAMPION = "candidate", "champion"
_RIVALS = (_CANDIDATE, _CHAMPION)
# Both were measured on these very wells: their difference is asked for, not the number on the champion's rec.
_GATE = {
    "name": "corrected recall on these screens holds the champion's",
    "benchmark": RECALL,
    "metric": RECALL_DIFFERENCE,
    "where": {"against": _CHAMPION},
    "at_least": -0.02,
}

CHALLENGE: Final = Pipeline(
    name="challenge",
    summary="measure the candidate against the champion on the same screens, and promote it if it holds",
    description="""Measure the candidate against the champion on the same screens, and promote it if it holds.

Both encoders embed and map the same fields. By default one gate is asked: recall of known relationships,
candidate minus champion, pair by pair, may not fall by more than 0.02. The rows are kept with the candidate's
version.""",
    steps=(
        *links.SCREEN_STEPS,
        *(links.embed_with(Given(name), variant=name) for name in _RIVALS),
        *(links.map_of(name) for name in _RIVALS),
        links.benchmark_of(_RIVALS),
        Step(
            "register",
            section="registry",
            locations={"encoder": Given(_CANDIDATE), "benchmark": At("benchmark")},
        ),
        links.PROMOTE,
        links.report_on(
            _RIVALS, embeddings=_RIVALS, further={"registered": At("register"), "promoted": At("promote")}
        ),
    ),
    sections={
        **links.SCREEN_SECTIONS,
        "curate": links.KEEP_EVERY_FIELD,
        **links.MAP_SECTIONS,
        "benchmark": Section("benchmark", defaults={"reference": _CANDIDATE}),
        "registry": Section("register", defaults={"label": _CANDIDATE}),
        "promote": Section("promote", defaults={"gates": [_GATE]}),
        "report": Section("report", defaults={"shown_map": _CANDIDATE}),
    },
    places={
        **links.SCREEN_PLACES,
        _CANDIDATE: Place(
            "the challenger: models:/NAME@ALIAS, or an encoder in the output of a stage",
            default="models:/phenoscale-encoder@candidate",
        ),
        _CHAMPION: Place("who is challenged: models:/NAME@ALIAS, or an encoder", default=links.CHAMPION),
    },
    parameters=(
        *links.SCREEN_PARAMETERS,
        Parameter(_CANDIDATE, (_CANDIDATE,)),
        Parameter(_CHAMPION, (_CHAMPION,)),
        links.MODEL_PARAMETER,
    ),
    examples=(
        "challenge --screens work/ingest/KEY",
        "challenge --candidate work/probe/KEY/encoder --screens s3://b/w",
    ),
)
