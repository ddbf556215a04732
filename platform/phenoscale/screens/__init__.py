"""Screens: well tables, image stores, the readers that fill them, and simulated screens."""
