"""Tests of Phenoscale: they mirror the library path for path."""
