import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from tokendrop.data.entities import entities, is_iob, to_iob2

TAGS = st.lists(st.sampled_from(["O", "B-A", "I-A", "B-B", "I-B"]), max_size=12)


@given(TAGS)
def test_entities_are_those_of_seqeval(tags):
    assert entities(tags) == set(get_entities(tags))


@given(TAGS)
def test_iob2_names_the_same_entities_and_stays(tags):
    converted = to_iob2(tags)
    assert entities(converted) == entities(tags)
    assert to_iob2(converted) == converted
    assert sum(tag.startswith("B-") for tag in converted) == len(entities(tags))


def test_iob1_becomes_iob2():
    # in IOB1 only the second of two neighbouring entities of one type begins with B-
    tags = ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-ORG"]
    assert to_iob2(tags) == ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "B-ORG"]


@pytest.mark.parametrize("tag", ["NN", "B-", "I", "o", "S-PER"])
def test_tags_that_are_no_entities(tag):
    assert not is_iob(["O", tag])
    assert to_iob2(["O", tag]) == ["O", tag]
