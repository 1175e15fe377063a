"""What items may be called, on the sample collection in tests/data."""

from pathlib import Path

from opencodi.collections.stickers.captions import article, captions_of, every_caption
from opencodi.data.shards import load_audio, load_concepts, load_images, load_videos

DATA = Path(__file__).parents[2] / "data"


def test_speech_and_sounds_of_one_thing_are_called_differently():
    concepts = load_concepts(DATA)
    audio = load_audio(DATA)
    spoken = {c for r in audio.records if r["shard"] == "speech" for c in captions_of(r, concepts)}
    heard = {c for r in audio.records if r["shard"] == "sounds" for c in captions_of(r, concepts)}
    assert "the word guitar" in spoken and "the sound of a guitar" in heard
    assert not spoken & heard


def test_captions_name_style_and_skin_tone():
    concepts = load_concepts(DATA)
    records = load_images(DATA).records
    noto = next(r for r in records if r["style"] == "noto" and not r["tone"])
    assert f"{noto['name']}, noto style" in captions_of(noto, concepts)
    toned = next(r for r in records if r["tone"])
    assert captions_of(toned, concepts)[0] == f"{toned['name']} with {toned['tone']} skin"


def test_every_caption_of_every_item_is_listed():
    concepts = load_concepts(DATA)
    listed = set(every_caption(DATA))
    for items in (load_images(DATA), load_videos(DATA), load_audio(DATA)):
        for record in items.records:
            assert set(captions_of(record, concepts)) <= listed


def test_articles():
    assert article("owl") == "an owl" and article("rooster") == "a rooster"
