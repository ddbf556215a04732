"""The registry of encoders: candidate and champion under written gates, with the evidence kept."""
