"""What several test files build on: small stores, encoders and pipelines made from nothing."""
