"""Pure numerics on arrays: moments, order statistics, intervals, two-sample distances, probes. No torch."""
