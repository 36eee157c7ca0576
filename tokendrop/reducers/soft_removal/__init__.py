"""AdapLeR's soft removal: by torch's operators, and on a GPU by kernels of its own."""
