"""The form's values, before anything is made."""

from pathlib import Path

import pytest

from opencodi.errors import ArgumentError, DamagedFile

pytest.importorskip("gradio", reason="the studio needs the extra `studio`")

from opencodi.studio.wish import Wish, read_file, read_wish


def test_an_empty_form_asks_for_something_to_make():
    with pytest.raises(ArgumentError, match="Tick at least one"):
        read_wish({"text": "a bell", "outputs": []})


def test_only_inputs_that_are_there_have_weights():
    form = {"text": " a bell ", "image": "cat.jpg", "image_weight": 0.5, "audio_weight": 2, "outputs": ["text", "image"]}
    wish = read_wish(form)
    assert (wish.text, wish.files, wish.weights) == ("a bell", {"image": "cat.jpg"}, {"text": 1.0, "image": 0.5})
    assert wish.outputs == ("text", "image")
    assert wish.inputs == ["text", "image"]
    assert wish.summary() == "a bell + picture"


def test_what_is_left_out_is_the_models_own_and_a_seed_is_drawn():
    wishes = [read_wish({"outputs": ["image"], "steps": "", "guidance": None}) for _ in range(2)]
    assert (wishes[0].steps, wishes[0].guidance, wishes[0].number) == (None, None, 1)
    assert wishes[0].seed != wishes[1].seed
    given = read_wish({"outputs": ["image"], "seed": "7", "steps": 12.0, "guidance": "2,5"})
    assert given == Wish(seed=7, steps=12, guidance=2.5)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("steps", "0", "steps must be a whole number from 1 to 200"),
        ("steps", "1.5", "whole number"),
        ("steps", "many", "whole number"),
        ("seed", str(2**64), "The seed must be a whole number"),
        ("seed", "-1", "The seed"),
        ("guidance", "nan", "Guidance must be a number from 0 to 30"),
        ("guidance", "1e20", "Guidance"),
        ("number", 100, "results must be a whole number from 1 to 6"),
        ("text_weight", float("inf"), "weight of text"),
        ("text_weight", 0, "All weights are 0"),
    ],
)
def test_numbers_that_make_no_sense_are_named(field, value, words):
    with pytest.raises(ArgumentError, match=words):
        read_wish({"text": "a bell", "outputs": ["image"], field: value})


def test_a_file_that_cannot_be_read_is_named_without_its_folder(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    with pytest.raises(DamagedFile) as error:
        read_file("image", str(broken))
    assert "broken.png" in str(error.value) and str(tmp_path) not in str(error.value)


def test_every_example_can_be_read():
    from opencodi.studio.examples import EXAMPLES

    for example in EXAMPLES:
        for name, path in example.files.items():
            assert Path(path).stat().st_size < 20_000
            read_file(name, path)
        values = {"text": example.text, "outputs": example.outputs, **example.files}
        assert read_wish(values).outputs == tuple(sorted(example.outputs, key=["text", "image", "video", "audio"].index))
