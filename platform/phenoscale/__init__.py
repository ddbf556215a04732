"""Phenoscale: foundation models of cell microscopy, from high-content screens to maps of biology."""
