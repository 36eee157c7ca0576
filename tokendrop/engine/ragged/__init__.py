"""Attention inside the rows of a packed tensor in one launch, for GPUs: kernels and operators."""
