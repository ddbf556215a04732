"""Training encoders: a plain loop, checkpoints that resume to the bit, any number of processes."""
