"""Looking after a workspace and a machine: lineage, readiness, clean-up."""
