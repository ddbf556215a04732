"""Tests of the tree itself: layers, doors, budgets, documentation."""
