"""Comparators written against the public reducer API only, as a user would write one."""

from baselines.attention_top_k import AttentionTopK
from baselines.entropy_exit import EntropyExit
from baselines.fewer_layers import FewerLayers
from baselines.first_k import FirstK
from baselines.longer_training import LongerTraining
from baselines.patience_exit import PatienceExit
from baselines.random_drop import RandomDrop
from baselines.saliency_top_k import SaliencyTopK
from baselines.threshold_pruning import ThresholdPruning
from baselines.token_merging import TokenMerging
from baselines.truncation import Truncation

__all__ = [
    "AttentionTopK",
    "EntropyExit",
    "FewerLayers",
    "FirstK",
    "LongerTraining",
    "PatienceExit",
    "RandomDrop",
    "SaliencyTopK",
    "ThresholdPruning",
    "TokenMerging",
    "Truncation",
]
