"""The published files become a folder that loads and generates; whatever is wrong with them is named."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from opencodi import AnyToAnyPipeline
from opencodi.convert.codi import convert_codi
from opencodi.convert.codi_unet import convert_unet
from opencodi.errors import ArgumentError, ConfigurationError
from opencodi.media import Audio
from tests import tiny
from tests.published import cases

from .checkpoints import CONFIGS, published_state, write_checkpoints, write_tokenizers

PREFIX = "model.diffusion_model.unet_audio."


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory) -> dict[str, str]:
    return write_tokenizers(tmp_path_factory.mktemp("tokenizers"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> Path:
    return write_checkpoints(tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture
def convert(tokenizers):
    def call(source: Path, output: Path, **options):
        options = {"dtype": "float32", "tokenizers": tokenizers, "configs": CONFIGS, **options}
        return convert_codi(source, output, **options)

    return call


@pytest.fixture(scope="module")
def folder(checkpoints, tokenizers, tmp_path_factory) -> Path:
    """The reduced published model, converted."""
    output = tmp_path_factory.mktemp("models") / "codi"
    convert_codi(checkpoints, output, dtype="float32", tokenizers=tokenizers, configs=CONFIGS)
    return output


@pytest.fixture(scope="module")
def pipe(folder) -> AnyToAnyPipeline:
    pipe = AnyToAnyPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_converted_model_turns_everything_into_everything(pipe):
    media = tiny.media()
    media["audio"] = Audio(media["audio"].samples, 16000)
    out = pipe(**media, outputs="all", num_inference_steps=2, generator=torch.Generator().manual_seed(0))
    assert out.image[0].size == (64, 64)
    assert out.video[0].frames.shape == (2, 64, 64, 3)
    assert len(out.audio[0].samples) == 5120
    assert isinstance(out.text[0], str)


def test_the_converted_parts_give_the_references_numbers(pipe):
    known = cases("clip_small")
    pixels = known["video.pixel_values"].transpose(1, 2)
    with torch.no_grad():
        for ours, theirs in (
            (pipe.text_prompt_encoder(known["text.input_ids"]).tokens, known["text.context"]),
            (pipe.image_prompt_encoder(known["image.pixel_values"]).tokens, known["image.context"]),
            (pipe.video_prompt_encoder(pixels, pipe.image_prompt_encoder).tokens, known["video.context"]),
            (
                pipe.audio_vocoder(cases("audioldm_small")["in.voc_mel"].transpose(1, 2)),
                cases("audioldm_small")["voc.out"].squeeze(1),
            ),
            (pipe.image_autoencoder.reconstruct(cases("autokl_small")["in.z"]), cases("autokl_small")["dec.out"]),
        ):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_the_converted_denoisers_and_adapters_hold_the_published_weights(pipe):
    networks = {
        "text": ("CoDi_text_diffuser.pth", ("text_denoiser", "text_alignment")),
        "image": ("CoDi_video_diffuser_8frames.pth", ("image_denoiser", "image_alignment", "video_temporal")),
        "audio": ("CoDi_audio_diffuser_m.pth", ("audio_denoiser", "audio_alignment")),
    }
    for name, (file, components) in networks.items():
        prefix = f"model.diffusion_model.unet_{name}."
        state = {key.removeprefix(prefix): x for key, x in published_state()[file].items() if key.startswith(prefix)}
        used = 0
        for component in components:
            net = pipe.components[component]
            expected, weights = convert_unet(state, net), net.state_dict()
            assert all(torch.equal(weights[key], expected[key]) for key in weights)
            used += sum(tensor.numel() for tensor in weights.values())
        twice = sum(x.numel() for key, x in state.items() if key.startswith("time_embed."))
        assert used == sum(x.numel() for x in state.values()) + twice


def test_the_folder_says_how_the_published_model_is_run(folder, pipe):
    index = json.loads((folder / "model_index.json").read_text())
    assert (index["exchange"], index["num_inference_steps"], index["guidance_scale"]) == ("others", 50, 7.5)
    assert {pipe.components[f"{name}_denoiser"].config.skip for name in ("text", "image", "audio")} == {"aliased"}
    assert pipe.scheduler.config.beta_schedule == "scaled_linear" and not pipe.scheduler.config.set_alpha_to_one


def test_text_is_read_by_bert_and_written_by_gpt2(pipe):
    read = pipe.text_tokenizer(["Abc"], return_tensors="pt").input_ids
    assert pipe.text_tokenizer.reader.convert_ids_to_tokens(read[0]) == ["[CLS]", "a", "##b", "##c", "[SEP]"]
    special = [getattr(pipe.text_tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")]
    assert special == [497, 498, 499]
    letters = pipe.text_tokenizer.convert_tokens_to_ids(["Ġ", "a", "b"])
    assert pipe.text_tokenizer.decode([498, *letters, 499, 497], skip_special_tokens=True) == " ab"


def test_texts_end_with_the_token_that_clip_reads(pipe):
    ids = pipe.text_prompt_encoder.preprocess(["abc", "a b " * 30])["input_ids"]
    assert ids.shape == (2, 20) and (ids[:, 0] == 398).all() and (ids[:, -1] == 399).all()
    assert ids[0].tolist().index(399) == 4


def test_the_video_encoder_stores_its_temporal_blocks_and_no_tower(folder):
    (weights,) = (folder / "video_prompt_encoder").glob("*.safetensors")
    assert all(key.startswith("temporal.") for key in load_file(weights))


def test_saved_again_the_parts_are_complete_in_themselves(pipe, tmp_path):
    names = ("text_prompt_encoder", "video_prompt_encoder", "text_tokenizer")
    AnyToAnyPipeline(**{name: pipe.components[name] for name in names}).save_pretrained(tmp_path)
    again = AnyToAnyPipeline.from_pretrained(tmp_path)
    weights = again.video_prompt_encoder.state_dict()
    assert all(torch.equal(weights[key], x) for key, x in pipe.video_prompt_encoder.state_dict().items())
    assert again.text_tokenizer(["Abc"]).input_ids == pipe.text_tokenizer(["Abc"]).input_ids
    texts = ["a rooster"]
    expected = pipe.text_prompt_encoder.encode(texts).tokens
    torch.testing.assert_close(again.text_prompt_encoder.encode(texts).tokens, expected, atol=1e-5, rtol=0)


def test_a_place_without_room_is_named(convert, tmp_path):
    source, output = write_checkpoints(tmp_path / "files", audio=True), tmp_path / "codi"
    output.mkdir()
    # Something in the way stands for a full disk.
    (output / ".partial-audio_denoiser").write_text("in the way")
    with pytest.raises(ConfigurationError, match=r"audio_denoiser: cannot be written .*start again"):
        convert(source, output)


def test_exchange_self_is_the_published_behaviour_and_can_be_set_afterwards(convert, tmp_path):
    source = write_checkpoints(tmp_path / "files", audio=True)
    convert(source, tmp_path / "codi", exchange="self")
    assert AnyToAnyPipeline.from_pretrained(tmp_path / "codi").config.exchange == "self"
    done = []
    convert(source, tmp_path / "codi", progress=lambda name, *_: done.append(name))
    loaded = AnyToAnyPipeline.from_pretrained(tmp_path / "codi")
    assert (loaded.config.exchange, loaded.audio_denoiser.config.skip, done) == ("others", "aliased", [])


def test_some_of_the_files_make_a_smaller_model_that_others_join_later(convert, tmp_path):
    source = write_checkpoints(tmp_path / "files", audio=True)
    record = convert(source, tmp_path / "codi", dtype="float16")
    assert list(record["components"]) == ["audio_denoiser", "audio_alignment"]
    names = {name for name, part in AnyToAnyPipeline.from_pretrained(tmp_path / "codi").components.items() if part}
    assert names == {"audio_denoiser", "audio_alignment", "scheduler"}
    (weights,) = (tmp_path / "codi" / "audio_denoiser").glob("*.safetensors")
    assert {tensor.dtype for tensor in load_file(weights).values()} == {torch.float16}
    # The other files, one of them as safetensors, and without the first
    (source / "CoDi_audio_diffuser_m.pth").unlink()
    state = {key: x.contiguous() for key, x in published_state()["CoDi_text_diffuser.pth"].items()}
    save_file(state, source / "CoDi_text_diffuser.safetensors")
    record = convert(source, tmp_path / "codi", dtype="float16")
    parts = {f"{kind}_{part}" for kind in ("audio", "text") for part in ("denoiser", "alignment")}
    assert set(record["components"]) == parts
    index = json.loads((tmp_path / "codi" / "model_index.json").read_text())
    assert "audio_denoiser" in index and "text_denoiser" in index and "image_denoiser" not in index


def test_a_stopped_conversion_goes_on(convert, folder, tmp_path):
    class Stopped(Exception):
        """Ctrl-C, or worse."""

    def stop(name: str, done: int, total: int) -> None:
        if name == "audio_autoencoder":
            raise Stopped

    source = write_checkpoints(tmp_path / "files", encoders=True)
    output, done = tmp_path / "codi", []
    with pytest.raises(Stopped):
        convert(source, output, progress=stop)
    assert not (output / "model_index.json").exists() and not (output / "audio_autoencoder").exists()
    # What a kill in the middle of writing leaves behind
    (output / ".partial-audio_autoencoder").mkdir()
    (output / ".partial-audio_autoencoder" / "config.json").write_text("half")
    (output / "audio_vocoder").mkdir()
    (output / "audio_vocoder" / "junk").touch()
    convert(source, output, progress=lambda *step: done.append(step))
    assert done == [("audio_autoencoder", 6, 8), ("audio_vocoder", 7, 8)]
    later = ("denoiser", "alignment", "temporal/")
    expected = {name for name in snapshot(folder) if not any(part in name for part in later)}
    ours, theirs = snapshot(output), snapshot(folder)
    assert ours.keys() == expected
    assert all(ours[name] == theirs[name] for name in ours if name.endswith((".safetensors", "config.json")))


def test_the_record_counts_what_was_left_out_and_why(folder, pipe):
    components = json.loads((folder / "conversion.json").read_text())["components"]
    assert components["audio_autoencoder"]["dropped"].keys() == {
        "belongs to the vocoder",
        "Fourier basis and mel filters; the spectrogram comes from torch.stft",
    }
    assert components["text_autoencoder"]["dropped"]["the token embedding again: it is tied"] == 1
    assert components["image_denoiser"] == {
        "parameters": sum(p.numel() for p in pipe.image_denoiser.parameters()),
        "dropped": components["image_denoiser"]["dropped"],
    }
    reasons = {"belongs to the temporal adapter", "belongs to the alignment adapter"}
    assert components["image_denoiser"]["dropped"].keys() == reasons


def audio(change) -> dict[str, torch.Tensor]:
    """The audio diffuser's file after a change of its tensors."""
    state = dict(published_state()["CoDi_audio_diffuser_m.pth"])
    change(state)
    return state


DAMAGED = {
    "missing": (lambda s: s.pop(f"{PREFIX}out.2.bias"), rf"audio_denoiser: {PREFIX}out\.2\.bias: is missing"),
    "unknown": (lambda s: s.update({f"{PREFIX}surprise": torch.zeros(1)}), rf"{PREFIX}surprise: is not a parameter"),
    "foreign": (lambda s: s.update({"ema.decay": torch.zeros(1)}), r"ema\.decay: is not a parameter of any component"),
    "misshapen": (
        lambda s: s.update({f"{PREFIX}out.2.bias": torch.zeros(7)}),
        r"out\.2\.bias: shape \[7\] does not fit",
    ),
    "no tensor": (lambda s: s.update({"epoch": 3}), "holds something else than tensors by name"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_wrong_keys_are_named_and_no_component_is_written(convert, tmp_path, damage):
    change, message = DAMAGED[damage]
    (tmp_path / "files").mkdir()
    torch.save(audio(change), tmp_path / "files" / "CoDi_audio_diffuser_m.pth")
    with pytest.raises(ConfigurationError, match=message):
        convert(tmp_path / "files", tmp_path / "codi")
    assert not [path for path in (tmp_path / "codi").glob("*") if path.name != "conversion.json"]


def test_values_too_large_for_half_precision_are_refused_by_name(convert, tmp_path):
    (tmp_path / "files").mkdir()
    large = audio(lambda s: s.update({f"{PREFIX}out.2.bias": torch.full((8,), 1e5)}))
    torch.save(large, tmp_path / "files" / "CoDi_audio_diffuser_m.pth")
    with pytest.raises(ConfigurationError, match=r"conv_out\.proj\.bias: holds values too large for torch\.float16"):
        convert(tmp_path / "files", tmp_path / "codi", dtype="float16")


def test_a_key_in_two_files_is_refused(convert, tmp_path):
    source = write_checkpoints(tmp_path / "files", audio=True)
    shutil.copy(source / "CoDi_audio_diffuser_m.pth", source / "copy.pth")
    with pytest.raises(ConfigurationError, match=r"copy\.pth: .*is in CoDi_audio_diffuser_m\.pth too"):
        convert(source, tmp_path / "codi")


class Harmful:
    """What unpickling must not run."""

    def __reduce__(self):
        return (Path.touch, (Path("harmed"),))


def test_files_that_are_no_checkpoints_are_named_and_no_code_of_theirs_runs(convert, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for content in (b"garbage" * 100, b"", pickle.dumps(Harmful())):
        (tmp_path / "CoDi_encoders.pth").write_bytes(content)
        with pytest.raises(ConfigurationError, match=r"CoDi_encoders\.pth: cannot be read as a checkpoint"):
            convert(tmp_path / "CoDi_encoders.pth", tmp_path / "codi")
    torch.save({"weight": Harmful()}, tmp_path / "CoDi_encoders.pth")
    with pytest.raises(ConfigurationError, match=r"CoDi_encoders\.pth: cannot be read as a checkpoint"):
        convert(tmp_path / "CoDi_encoders.pth", tmp_path / "codi")
    assert not (tmp_path / "harmed").exists() and not (tmp_path / "codi").exists()


def test_places_without_checkpoints_are_named(convert, tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ConfigurationError, match="holds no checkpoint file"):
            convert(place, tmp_path / "codi")
    torch.save({"betas": torch.zeros(1000)}, tmp_path / "schedule.pth")
    with pytest.raises(ConfigurationError, match="hold no parameters of CoDi"):
        convert(tmp_path, tmp_path / "codi")


def test_tokenizers_are_asked_for_before_anything_is_converted(convert, checkpoints, tokenizers, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "tokenizer.json").write_text("{")
    places = {"nowhere": "cannot be loaded", "damaged": "cannot be loaded", "empty": r"has \d00 tokens, the one there"}
    for place, whose in (
        ("nowhere", "clip"),
        ("damaged", "bert"),
        ("empty", "clip"),
        ("empty", "bert"),
        ("empty", "gpt2"),
    ):
        wrong = {**tokenizers, whose: str(tmp_path / place)}
        with pytest.raises(ConfigurationError, match=rf"{place}: .*'s tokenizer {places[place]}.*; give a folder"):
            convert(checkpoints, tmp_path / "codi", tokenizers=wrong)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_folder_of_something_else_or_in_another_dtype_is_refused(convert, tmp_path):
    source = write_checkpoints(tmp_path / "files", audio=True)
    with pytest.raises(ArgumentError, match="holds other files"):
        convert(source, source)
    (tmp_path / "codi").mkdir()
    convert(source, tmp_path / "codi")
    with pytest.raises(ConfigurationError, match="was begun in float32"):
        convert(source, tmp_path / "codi", dtype="float16")
    (tmp_path / "codi" / "conversion.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"conversion\.json: cannot be read"):
        convert(source, tmp_path / "codi")
    for wrong in ({"dtype": "int8"}, {"exchange": "none"}):
        with pytest.raises(ArgumentError, match=f"^{next(iter(wrong))}: "):
            convert(source, tmp_path / "new", **wrong)
