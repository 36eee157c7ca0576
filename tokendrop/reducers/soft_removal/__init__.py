"""AdapLeR's soft removal: by torch's operators, and on a GPU by kernels of its own."""

FLOOR = -10_000.0  # of edits and biases: exp gives 0, and half precision can hold it
GONE = 1e-6  # a mask at or below it counts no longer
