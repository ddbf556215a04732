"""The configs of the benchmarks: flags as documented, tails that cannot cross."""

import pytest

from phenoscale.benchmarks.config import BenchmarkConfig
from phenoscale.benchmarks.relations.config import RecallConfig
from phenoscale.config import fingerprint, load_config, parse_config
from phenoscale.errors import UserError


def test_the_documented_flags_fill_the_recall_config():
    flags = {"map": "m.parquet", "annotations": ["a.csv", "b.csv"], "lower": "0.05", "upper": "0.95"}
    config = load_config(RecallConfig, None, flags=flags)
    assert (config.map, config.annotations) == ("m.parquet", ("a.csv", "b.csv"))
    assert (config.lower, config.upper) == (0.05, 0.95)


def test_tails_that_meet_are_refused():
    with pytest.raises(UserError, match=r"lower is 0.6 and upper 0.5"):
        parse_config(RecallConfig, {"lower": 0.6, "upper": 0.5}, source="test")
    with pytest.raises(UserError, match="upper"):
        parse_config(RecallConfig, {"upper": 1.5}, source="test")


def test_encoders_are_named_and_places_do_not_enter_the_fingerprint():
    config = load_config(
        BenchmarkConfig, None, flags={"maps": ["trained=a", "untrained=b"], "annotations": "p.csv"}
    )
    assert config.maps == {"trained": "a", "untrained": "b"}
    assert fingerprint(config) == fingerprint(BenchmarkConfig())
    assert fingerprint(BenchmarkConfig(seed=1)) != fingerprint(BenchmarkConfig())
