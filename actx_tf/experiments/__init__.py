"""The experiments of the paper, from data to tables."""
