"""What is learned: the loss and the scores of each kind of task."""

from tokendrop.heads import Kind
from tokendrop.tasks.base import IGNORED, MetricName, Scores, Task
from tokendrop.tasks.classification import SequenceClassification
from tokendrop.tasks.question_answering import QuestionAnswering
from tokendrop.tasks.regression import Regression
from tokendrop.tasks.token_classification import TokenClassification

__all__ = [
    "IGNORED",
    "Kind",
    "MetricName",
    "QuestionAnswering",
    "Regression",
    "Scores",
    "SequenceClassification",
    "Task",
    "TokenClassification",
]
