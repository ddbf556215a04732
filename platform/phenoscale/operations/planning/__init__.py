"""Planning: what a run would compute, and what a training takes."""
