"""Comparators written against the public reducer API only, as a user would write one."""

from baselines.truncation import Truncation

__all__ = ["Truncation"]
