"""All benchmarks together: the list, and one run of everything that the inputs allow."""
