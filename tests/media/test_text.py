import os

import pytest

from opencodi.errors import ArgumentError, EmptyFile, OverLimit, WrongKind
from opencodi.media import Limits, read_text, write_text

from .samples import picture


def test_a_text_comes_back_as_it_was_written(tmp_path):
    write_text("a rooster, naïve 🐓\nsecond line", tmp_path / "a.txt")
    assert read_text(tmp_path / "a.txt") == "a rooster, naïve 🐓\nsecond line"
    assert (tmp_path / "a.txt").read_bytes().endswith(b"line\n")


def test_a_byte_order_mark_and_white_space_around_are_no_part_of_the_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf  a dog\r\n\r\n")
    assert read_text(tmp_path / "a.txt") == "a dog"


@pytest.mark.parametrize(
    "content", [b"a dog \xff\xfe\x80", b"caf\xe9", b"a\0b", "a dog".encode("utf-16"), b"a dog \xf0\x9f"], ids=repr
)
def test_bytes_that_are_not_utf8_text_are_of_the_wrong_kind(tmp_path, content):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(WrongKind, match=r"a\.txt: is not UTF-8 text"):
        read_text(tmp_path / "a.txt")


def test_a_picture_named_txt_is_recognised_as_one(tmp_path):
    picture().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.txt")
    with pytest.raises(WrongKind, match="is a PNG picture"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("first_words", ["ID3 tags are labels", "GIF89a is a format"])
def test_a_text_that_begins_like_another_kind_is_still_a_text(tmp_path, first_words):
    write_text(first_words, tmp_path / "a.txt")
    assert read_text(tmp_path / "a.txt") == first_words


def test_white_space_alone_is_empty(tmp_path):
    (tmp_path / "a.txt").write_text(" \n\t\n")
    with pytest.raises(EmptyFile, match="no word"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize("length", [11, 41, 1000])
def test_the_limit_counts_characters_not_bytes(tmp_path, length):
    limits = Limits(max_characters=10)
    write_text("é" * 10, tmp_path / "fits.txt")
    assert len(read_text(tmp_path / "fits.txt", limits)) == 10
    write_text("é" * length, tmp_path / "long.txt")
    with pytest.raises(OverLimit, match="10 characters"):
        read_text(tmp_path / "long.txt", limits)


def test_only_strings_are_written(tmp_path):
    with pytest.raises(ArgumentError, match="bytes"):
        write_text(b"a dog", tmp_path / "a.txt")
    with pytest.raises(ArgumentError, match="character 2"):
        write_text("a \ud83d", tmp_path / "a.txt")
    assert os.listdir(tmp_path) == []
