"""The registry of encoders: candidate and champion under written gates, the evidence kept with each version."""
