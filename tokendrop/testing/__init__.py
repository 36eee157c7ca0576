"""Testing a reducer: the contract that every method must fulfil, on tiny random models."""

from tokendrop.testing.contract import check_reducer

__all__ = ["check_reducer"]
