"""Simulated high-content screens with planted truth: what was planted is known, so recall can be checked."""
