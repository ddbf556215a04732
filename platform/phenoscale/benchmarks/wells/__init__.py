"""What wells say: replicates, signals, batches, mechanisms, features."""
