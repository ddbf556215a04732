"""Where a stage runs: in this process, in several, on a cluster; the stage does not know."""
