import copy
import hashlib
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import BertTokenizer, PreTrainedTokenizerFast

from tokendrop.data.tokens import Tokeniser
from tokendrop.errors import UserError

TEXTS = [("good film",), ("a very long film is not so good",), ("bad",)]


class Counting:
    """A tokenizer that counts how often it is asked."""

    def __init__(self, tokenizer: BertTokenizer) -> None:
        self.calls = 0
        self._tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self._tokenizer, name)

    def __call__(self, *args, **options):
        self.calls += 1
        return self._tokenizer(*args, **options)


@pytest.fixture
def counting(tokenizer):
    return Counting(tokenizer)


def test_rows_can_be_copied_and_sent_to_another_process(counting, tmp_path):
    tokens = Tokeniser(counting, 6, tmp_path)(TEXTS, "train")
    assert copy.deepcopy(tokens) == tokens
    assert pickle.loads(pickle.dumps(tokens)) == tokens


def test_second_process_does_not_tokenise_again(counting, tmp_path):
    first = Tokeniser(counting, 6, tmp_path)(TEXTS, "train")
    # a new object, as in another process; the tokenizer now carries the first call's truncation
    assert Tokeniser(counting, 6, tmp_path)(TEXTS, "train") == first
    assert counting.calls == 1


def test_results_are_named_by_a_hash_of_what_went_in(tokenizer, tmp_path):
    tokeniser = Tokeniser(tokenizer, 6, tmp_path)
    tokeniser(TEXTS, "train")
    key = json.dumps([tokeniser.identity, {}, TEXTS])
    assert (tmp_path / f"{hashlib.sha256(key.encode()).hexdigest()}.arrow").is_file()


def test_rows_are_lists_that_can_be_taken_from_either_end(tokenizer):
    ids = Tokeniser(tokenizer, 6)(TEXTS, "train").input_ids
    rows = tokenizer([text for (text,) in TEXTS], truncation=True, max_length=6)["input_ids"]
    assert list(ids) == rows == [ids[0], *ids[1:]]
    assert ids[-1] == rows[-1]
    with pytest.raises(IndexError):
        ids[3]


def test_other_texts_or_length_are_tokenised(counting, tmp_path):
    Tokeniser(counting, 6, tmp_path)(TEXTS, "train")
    Tokeniser(counting, 7, tmp_path)(TEXTS, "train")
    Tokeniser(counting, 6, tmp_path)(TEXTS[:2], "train")
    assert counting.calls == 3


def test_other_vocabulary_is_tokenised(tokenizer, tmp_path):
    vocabulary = tokenizer.get_vocab()
    reversed_ = BertTokenizer(vocab={t: len(vocabulary) - 1 - i for t, i in vocabulary.items()})
    ids = [Tokeniser(t, 6, tmp_path)(TEXTS, "train").input_ids for t in (tokenizer, reversed_)]
    assert ids[0] != ids[1]


def test_the_end_that_is_cut_is_a_part_of_the_key(tokenizer, tmp_path):
    left = BertTokenizer(vocab=tokenizer.get_vocab(), truncation_side="left")
    rows = [Tokeniser(t, 6, tmp_path)(TEXTS, "train").input_ids[1] for t in (tokenizer, left)]
    names = [tokenizer.convert_ids_to_tokens(row)[1:-1] for row in rows]
    assert names == [TEXTS[1][0].split()[:4], TEXTS[1][0].split()[-4:]]


def test_whether_special_tokens_are_split_is_a_part_of_the_key(tokenizer, tmp_path):
    texts = [(f"one {tokenizer.sep_token} two",)]
    splitting = BertTokenizer(vocab=tokenizer.get_vocab(), split_special_tokens=True)
    rows = [Tokeniser(t, 12, tmp_path)(texts, "train").input_ids[0] for t in (tokenizer, splitting)]
    marks = [list(row).count(tokenizer.sep_token_id) for row in rows]
    assert marks == [2, 1]


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99])
def test_torn_cache_file_is_rebuilt(counting, tmp_path, damage):
    # in memory, since the file below is written into
    first = Tokeniser(counting, 6)(TEXTS, "train")
    Tokeniser(counting, 6, tmp_path)(TEXTS, "train")
    (file,) = tmp_path.glob("*.arrow")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert Tokeniser(counting, 6, tmp_path)(TEXTS, "train") == first
    assert counting.calls == 3
    assert file.read_bytes() == whole


def test_flipped_or_torn_tokens_are_made_again(tokenizer, tmp_path, caplog):
    tokens = Tokeniser(tokenizer, 6)(TEXTS, "train")
    Tokeniser(tokenizer, 6, tmp_path)(TEXTS, "train")
    (file,) = tmp_path.glob("*.arrow")

    @given(st.integers(0, 10**6), st.integers(0, 7), st.booleans())
    def are_made_again(place, bit, torn):
        caplog.clear()
        content = bytearray(file.read_bytes())
        place %= len(content)
        content[place] ^= 1 << bit
        file.write_bytes(content[:place] if torn else content)
        assert Tokeniser(tokenizer, 6, tmp_path)(TEXTS, "train") == tokens
        assert f"{file} is torn or was changed" in caplog.text

    are_made_again()
    # as an earlier version wrote them
    file.with_name(f"{file.name}.sha256").unlink()
    assert Tokeniser(tokenizer, 6, tmp_path)(TEXTS, "train") == tokens


def test_failed_write_leaves_nothing_behind(tokenizer, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pyarrow.ipc.new_stream", full)
    with pytest.raises(UserError, match="No space left"):
        Tokeniser(tokenizer, 6, tmp_path)(TEXTS, "train")
    assert list(tmp_path.iterdir()) == []


def test_truncation_is_exact_and_counted(tokenizer, tmp_path):
    tokens = Tokeniser(tokenizer, 4, tmp_path)(TEXTS, "train")
    assert [len(row) for row in tokens.input_ids] == [4, 4, 3]
    assert tokens.truncated == 1
    end = tokenizer.sep_token_id
    assert all(row[-1] == end for row in tokens.input_ids)


def test_many_rows_keep_their_order(tokenizer, tmp_path):
    texts = [(f"film {i}",) for i in range(2500)]
    tokens = Tokeniser(tokenizer, 16, tmp_path)(texts, "train")
    assert tokens.input_ids == tokenizer([text for (text,) in texts])["input_ids"]


def test_pairs_are_typed_and_the_longer_is_cut(tokenizer, tmp_path):
    pairs = [("good", "a very long film is not so good"), ("bad", "dull")]
    tokens = Tokeniser(tokenizer, 7, tmp_path)(pairs, "train")
    assert tokens.token_type_ids == [[0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 1, 1]]
    assert tokens.truncated == 1


def test_a_tokenizer_that_gives_no_types_marks_no_pair(tokenizer, tmp_path):
    """Its file marks the second text, and Hugging Face hands its model no marks all the same."""
    untyped = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()),
        model_input_names=["input_ids", "attention_mask"],
    )
    pair, context = [("bad", "good film")], [("bad", "good film good film")]
    assert Tokeniser(tokenizer, 9, tmp_path)(pair, "train").token_type_ids[0] == [0] * 3 + [1] * 3
    # with the same cache
    tokeniser = Tokeniser(untyped, 9, tmp_path)
    assert list(tokeniser(pair, "train").token_type_ids) == [[0] * 6]
    assert list(tokeniser.windows(context, 1, "train").tokens.token_type_ids) == [[0] * 8]
    (words, _) = tokeniser.words([["good", "film"]], "train", before=["bad"])
    assert list(words.token_type_ids) == [[0] * 6]


def test_max_length_without_room(tokenizer, tmp_path):
    with pytest.raises(UserError, match=r"max_length 3 leaves no room.*use --data.max_length 4"):
        Tokeniser(tokenizer, 3, tmp_path)([("good", "bad")], "train")


def test_cache_folder_that_is_a_file(tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*TOKENDROP_CACHE"):
        Tokeniser(tokenizer, 6, tmp_path / "file")(TEXTS, "train")


def test_cache_folder_not_writable(tokenizer, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    # not by file modes, which do not bind root
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    monkeypatch.setattr("pyarrow.ipc.new_stream", refuse)
    with pytest.raises(UserError, match=r"Permission denied.*TOKENDROP_CACHE"):
        Tokeniser(tokenizer, 6, tmp_path)(TEXTS, "train")


def test_a_tokenizer_that_panics_is_a_damaged_one(tokenizer, tmp_path):
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    described["post_processor"]["special_tokens"].pop("[SEP]")
    backend = Tokenizer.from_str(json.dumps(described))
    damaged = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")
    tokeniser = Tokeniser(damaged, 12, tmp_path)
    with pytest.raises(UserError, match=r"no entry found.*tokenizer\.json is damaged"):
        tokeniser([("a film",)], "train")


def test_a_vocabulary_without_its_unknown_token(tokenizer, tmp_path):
    described = json.loads(tokenizer.backend_tokenizer.to_str())
    described["model"]["unk_token"] = "[NONE]"
    torn = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(described)))
    with pytest.raises(UserError, match=r"Missing \[UNK\] token.*tokenizer\.json is damaged"):
        Tokeniser(torn, 12, tmp_path)([("an unheard-of film",)], "train")
