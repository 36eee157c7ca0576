"""Who does the runs of a grid: this process, or the workers of a Ray cluster."""
