"""What the report reads: groups of perturbations, also those that only the wells know."""

from phenoscale.reports.config import ReportConfig
from phenoscale.reports.inputs import read_inputs
from phenoscale.schema.embeddings import write_embeddings
from tests.support.wells import in_two_screens, make_wells


def test_groups_are_read_from_the_wells_of_every_plate(tmp_path):
    table = in_two_screens(make_wells(num_genes=2))
    table.frame["module"] = "of " + table.frame["gene"]
    write_embeddings(tmp_path / "wells", table)
    found = read_inputs(ReportConfig(embeddings={"trained": str(tmp_path)}))
    assert {name: found.groups[name] for name in ("G1", "G2")} == {"G1": "of G1", "G2": "of G2"}
