"""What is learned: a file for each kind of task."""

from tokendrop.data.split import IGNORED
from tokendrop.tasks.answers import Answer, Answering, Answers, Scores
from tokendrop.tasks.base import ClassWeights, Task
from tokendrop.tasks.classification import SequenceClassification
from tokendrop.tasks.kinds import KINDS, add_kind, kind_named, kind_of
from tokendrop.tasks.question_answering import QuestionAnswering
from tokendrop.tasks.regression import Regression
from tokendrop.tasks.token_classification import TokenClassification

# of two kinds with one head, a model that does not say is of the first
for _kind in (SequenceClassification, Regression, TokenClassification, QuestionAnswering):
    add_kind(_kind)

__all__ = [
    "IGNORED",
    "KINDS",
    "Answer",
    "Answering",
    "Answers",
    "ClassWeights",
    "QuestionAnswering",
    "Regression",
    "Scores",
    "SequenceClassification",
    "Task",
    "TokenClassification",
    "add_kind",
    "kind_named",
    "kind_of",
]
