"""Tuning: the arguments of each method are chosen on the dev split, for the same cost."""
