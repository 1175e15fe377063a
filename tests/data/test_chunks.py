import numpy as np
import pytest
import torch

from opencodi.data.chunks import Chunks, Joined, Rows, packed_texts, unpacked_texts
from opencodi.errors import TrainingError


def counting(made: list):
    def make(first: int, last: int) -> dict[str, torch.Tensor]:
        made.append((first, last))
        return {"number": torch.arange(first, last)[:, None].float()}

    return make


def test_rows_come_back_in_the_order_asked_for_and_are_made_once(tmp_path):
    made = []
    chunks = Chunks(tmp_path, 10, counting(made), size=4)
    assert made == [(0, 4), (4, 8), (8, 10)]
    assert chunks.rows("number", np.array([9, 0, 5, 5])).flatten().tolist() == [9, 0, 5, 5]
    again = Chunks(tmp_path, 10, counting(made), size=4)
    assert len(made) == 3 and Rows(again, "number").shape == (10, 1)


def test_a_larger_set_keeps_the_whole_chunks_of_a_smaller_one(tmp_path):
    made = []
    Chunks(tmp_path, 6, counting(made), size=4)
    larger = Chunks(tmp_path, 9, counting(made), size=4)
    assert made == [(0, 4), (4, 6), (4, 8), (8, 9)]
    assert larger.rows("number", np.arange(9)).flatten().tolist() == list(range(9))


def test_an_interrupted_writing_leaves_whole_chunks_only(tmp_path):
    def make(first: int, last: int) -> dict[str, torch.Tensor]:
        if first:
            raise KeyboardInterrupt
        return {"number": torch.zeros(last - first)}

    with pytest.raises(KeyboardInterrupt):
        Chunks(tmp_path, 8, make, size=4)
    assert [path.name for path in tmp_path.iterdir()] == ["00000000-00000004.safetensors"]


def test_a_damaged_chunk_is_named(tmp_path):
    Chunks(tmp_path, 4, counting([]), size=4)
    (tmp_path / "00000000-00000004.safetensors").write_bytes(b"short")
    with pytest.raises(TrainingError, match=r"00000000-00000004\.safetensors is damaged"):
        Chunks(tmp_path, 4, counting([]), size=4)


def test_joined_sets_follow_one_another(tmp_path):
    joined = Joined([Chunks(tmp_path / name, count, counting([]), size=2) for name, count in (("a", 3), ("b", 4))])
    assert len(joined) == 7
    assert joined.rows("number", np.array([6, 2, 3])).flatten().tolist() == [3, 2, 0]


def test_packed_texts_come_back_and_the_last_are_left_out_where_there_is_no_room():
    texts = [["a cat", "ein Bär"], ["x" * 10, "y" * 10, "z"]]
    assert unpacked_texts(packed_texts(texts, 24)) == [texts[0], texts[1]]
    assert unpacked_texts(packed_texts(texts, 20)) == [texts[0], ["x" * 10]]
