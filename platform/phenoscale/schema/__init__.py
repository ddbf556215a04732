"""The values that flow through the pipeline: each parsed once, frozen, and with a digest."""
