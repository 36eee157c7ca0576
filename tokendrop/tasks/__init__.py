"""What is learned: the loss and the scores of each kind of task."""

from tokendrop.tasks.base import IGNORED, Kind, MetricName, Scores, Task
from tokendrop.tasks.classification import SequenceClassification

__all__ = ["IGNORED", "Kind", "MetricName", "Scores", "SequenceClassification", "Task"]
