"""The grid of a comparison: what is run, and its runs."""
