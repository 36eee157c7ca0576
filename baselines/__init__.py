"""Comparators written against the public reducer API only, as a user would write one."""

from baselines.attention_top_k import AttentionTopK
from baselines.fewer_layers import FewerLayers
from baselines.first_k import FirstK
from baselines.random_drop import RandomDrop
from baselines.truncation import Truncation

__all__ = ["AttentionTopK", "FewerLayers", "FirstK", "RandomDrop", "Truncation"]
