"""Captions → emoji, against the names of the collection."""

import json
from pathlib import Path

import pytest

from opencodi.export.emoji import ANY, emoji_for, emoji_name

CONCEPTS = Path(__file__).parents[1] / "data" / "concepts.jsonl"


@pytest.mark.parametrize(
    ("caption", "emoji"),
    [
        ("a rooster", "🐓"),
        ("a guitar, bouncing, openmoji style", "🎸"),
        ("two red apples", "🍎"),
        ("the sound of a rocket", "🚀"),
        ("", ANY),
        ("a", ANY),
    ],
)
def test_the_longest_named_thing_wins(caption, emoji):
    assert emoji_for(caption) == emoji


def test_captions_of_the_collection_find_their_emoji():
    concepts = [json.loads(line) for line in CONCEPTS.read_text().splitlines()]
    right = [emoji_for(f"a {each['name']}").strip("\ufe0f") == each["emoji"].strip("\ufe0f") for each in concepts]
    assert len(right) >= 10
    assert sum(right) / len(right) > 0.8


def test_discord_gets_the_name():
    assert emoji_name("🐓") == "rooster"
