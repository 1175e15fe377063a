"""A Stable Diffusion 1.x layout becomes our networks and comes back, with the same outputs and the same bits."""

import json
import shutil

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from opencodi import AnyToAnyPipeline, cli
from opencodi.convert.stable_diffusion import (
    autoencoder_from,
    autoencoder_to,
    from_stable_diffusion,
    unet_config_from,
    unet_from,
    unet_to,
)
from opencodi.errors import ConfigurationError
from tests import tiny

UNET = {
    "sample_size": 8,
    "block_out_channels": (32, 64, 64, 64),
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
}
VAE = {
    "block_out_channels": (32, 64),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "sample_size": 16,
}
MEL_VAE = {**VAE, "in_channels": 1, "out_channels": 1, "latent_channels": 8, "scaling_factor": 0.9228}
WEIGHTS = "diffusion_pytorch_model.safetensors"


def made(folder, unet=UNET, vae=VAE):
    """A folder in the layout of Stable Diffusion, with random weights; the networks in it."""
    networks = tiny.randomise(UNet2DConditionModel(**unet), 1), tiny.randomise(AutoencoderKL(**vae), 2)
    networks[0].save_pretrained(folder / "unet")
    networks[1].save_pretrained(folder / "vae")
    return networks


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    """The folder, its UNet and its VAE."""
    folder = tmp_path_factory.mktemp("checkpoints") / "sd"
    networks = made(folder)
    PNDMScheduler(skip_prk_steps=True, prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    (folder / "text_encoder").mkdir()
    return folder, *networks


@pytest.fixture(scope="module")
def pipeline(stable_diffusion):
    return from_stable_diffusion(stable_diffusion[0])


def normal(*shape, seed=0):
    return torch.randn(shape, generator=tiny.seeded(seed))


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


LAYOUTS = {
    "one block per level": {},
    "two blocks per level": {"layers_per_block": 2},
    "attention on some levels, another number of blocks on each, other widths": {
        "block_out_channels": (32, 96, 64),
        "layers_per_block": (1, 2, 1),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 2,
        "time_embedding_dim": 48,
        "norm_num_groups": 16,
    },
}


@torch.no_grad()
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_unet_denoises_as_before_and_comes_back_with_the_same_bits(tmp_path, layout):
    theirs, _ = made(tmp_path, {**UNET, **LAYOUTS[layout]})
    ours = from_stable_diffusion(tmp_path).image_denoiser
    for num_tokens in (1, 77):  # CoDi's prompts, Stable Diffusion's prompts
        arguments = normal(2, 4, 16, 8), torch.tensor([3, 700]), normal(2, num_tokens, 16, seed=1)
        expected = theirs(*arguments).sample
        assert expected.std() > 0.01
        assert_close(ours(*arguments), expected)

    unet_to(ours, sample_size=8).save_pretrained(tmp_path / "back")
    before, after = load_file(tmp_path / "unet" / WEIGHTS), load_file(tmp_path / "back" / WEIGHTS)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    config, back = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("unet", "back"))
    assert {name: value for name, value in back.items() if name in config} == config


def test_stable_diffusion_1_5_itself_fits():
    """By the names and shapes of its 859,520,964 parameters, without their values."""
    with torch.device("meta"):
        theirs = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    ours = unet_from(theirs.config, theirs.state_dict())
    assert sum(parameter.numel() for parameter in ours.parameters()) == 859_520_964
    assert (ours.config.model_channels, ours.config.channel_mult) == (320, (1, 2, 4, 4))


@torch.no_grad()
def test_pictures_go_through_the_vae_as_before_and_it_comes_back_with_the_same_bits(
    stable_diffusion, pipeline, tmp_path
):
    folder, _, theirs = stable_diffusion
    ours = pipeline.image_autoencoder
    picture = normal(2, 3, 16, 32).clamp(-1, 1)
    latents = theirs.encode(picture).latent_dist.mode() * theirs.config.scaling_factor
    assert_close(ours.encode(picture), latents)
    assert_close(ours.decode(latents), theirs.decode(latents / theirs.config.scaling_factor).sample.clamp(-1, 1))
    assert (ours.config.sample_size, ours.config.scaling_factor) == (16, 0.18215)

    autoencoder_to(ours).save_pretrained(tmp_path)
    before, after = load_file(folder / "vae" / WEIGHTS), load_file(tmp_path / WEIGHTS)
    assert before.keys() == after.keys() and all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert json.loads((tmp_path / "config.json").read_text()) == json.loads(
        (folder / "vae" / "config.json").read_text()
    )


@torch.no_grad()
def test_fresh_parts_change_nothing_until_they_are_trained(stable_diffusion, pipeline):
    theirs, ours = stable_diffusion[1], pipeline.image_denoiser
    assert ours.config.temporal and ours.config.alignment
    clip, times, prompt = normal(2, 4, 3, 8, 8), torch.tensor([3, 700]), normal(2, 5, 16, seed=1)
    frames = [theirs(clip[:, :, frame], times, prompt).sample for frame in range(3)]
    others = torch.nn.functional.normalize(normal(2, 2, 1280, seed=2), dim=-1)
    assert_close(ours(clip, times, prompt, others), torch.stack(frames, dim=2))

    before = ours(clip, times, prompt)
    for parts in (ours.temporal_parameters, ours.alignment_parameters):
        trained = type(ours).from_config(ours.config)
        trained.load_state_dict(ours.state_dict())
        names = {name for name, _ in getattr(trained, parts.__name__)()}
        for name, parameter in trained.named_parameters():
            parameter.data += 0.02 if name in names else 0
        assert tiny.differ(trained(clip, times, prompt, others), before)


def test_conversion_is_the_same_every_time_and_leaves_random_numbers_alone(stable_diffusion, pipeline):
    state = torch.random.get_rng_state()
    again = from_stable_diffusion(stable_diffusion[0]).image_denoiser.state_dict()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(again[name], tensor) for name, tensor in pipeline.image_denoiser.state_dict().items())


def test_files_in_half_precision_in_shards_and_with_old_names_are_read(stable_diffusion, tmp_path):
    folder, unet, vae = stable_diffusion
    shutil.copytree(folder, tmp_path / "sd")
    shutil.rmtree(tmp_path / "sd" / "unet")
    UNet2DConditionModel.from_pretrained(folder / "unet").half().save_pretrained(
        tmp_path / "sd" / "unet", max_shard_size="1MB"
    )
    assert len(list((tmp_path / "sd" / "unet").glob("*.safetensors"))) > 1
    news = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in vae.state_dict().items():
        for new, gone in news.items():
            name = name.replace(f".{new}.", f".{gone}.")
        old[name] = tensor
    (tmp_path / "sd" / "vae" / WEIGHTS).unlink()
    save_file(old, tmp_path / "sd" / "vae" / "diffusion_pytorch_model.fp16.safetensors")

    pipeline = from_stable_diffusion(tmp_path / "sd")
    assert pipeline.image_denoiser.dtype == torch.float16
    back = unet_to(pipeline.image_denoiser).state_dict()
    assert all(torch.equal(back[name], tensor.half()) for name, tensor in unet.state_dict().items())
    back = autoencoder_to(pipeline.image_autoencoder).state_dict()
    assert all(torch.equal(back[name], tensor) for name, tensor in vae.state_dict().items())


@torch.no_grad()
def test_a_spectrogram_unet_of_the_same_layout_becomes_the_audio_denoiser(tmp_path):
    unet, vae = made(tmp_path, {**UNET, "in_channels": 8, "out_channels": 8}, MEL_VAE)
    pipeline = from_stable_diffusion(tmp_path)
    ours = pipeline.audio_denoiser
    assert pipeline.image_denoiser is None and not ours.config.temporal and ours.config.alignment
    arguments = normal(1, 8, 16, 8), torch.tensor([30]), normal(1, 1, 16, seed=1)
    assert_close(ours(*arguments), unet(*arguments).sample)
    mel = normal(1, 1, 32, 64)
    assert_close(pipeline.audio_autoencoder.encode(mel), vae.encode(mel).latent_dist.mode() * 0.9228)
    back = autoencoder_to(pipeline.audio_autoencoder).state_dict()
    assert all(torch.equal(back[name], tensor) for name, tensor in vae.state_dict().items())


UNFIT = {
    "class_embed_type": "simple_projection",  # AudioLDM 1; it has the next two as well
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "down_block_types": ["AttnDownBlock2D"] * 4,
    "up_block_types": ["CrossAttnUpBlock2D"] * 4,
    "mid_block_type": None,
    "block_out_channels": [32, 48, 64, 64],
    "layers_per_block": [1, 1],
    "attention_head_dim": [5, 10, 20, 20],
    "cross_attention_dim": [32, 64, 64, 64],
    "norm_num_groups": None,
    "norm_eps": 1e-6,
    "act_fn": "gelu",
    "in_channels": 9,
    "out_channels": 8,
    "transformer_layers_per_block": 2,
    "resnet_time_scale_shift": "scale_shift",
    "something_new": "on",
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_unet_that_does_not_fit_is_refused_with_the_value_that_does_not(stable_diffusion, tmp_path, name):
    shutil.copytree(stable_diffusion[0], tmp_path / "sd")
    path = tmp_path / "sd" / "unet" / "config.json"
    values = json.loads(path.read_text()) | {name: UNFIT[name]}
    if name == "in_channels":
        values["out_channels"] = UNFIT[name]
    if name == "class_embed_type":
        values |= {"class_embeddings_concat": True, "projection_class_embeddings_input_dim": 512}
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigurationError) as refused:
        from_stable_diffusion(tmp_path / "sd")
    message = str(refused.value)
    assert message.startswith(f"{path}: {name} is {UNFIT[name]!r}, supported is ") and "\n" not in message
    if name == "class_embed_type":
        assert "AudioLDM 1 joins them to the time embedding" in message


def test_values_that_mean_off_fit_whatever_way_they_are_written():
    config = {**UNET, "in_channels": 4, "out_channels": 4, "norm_num_groups": 32, "time_embedding_dim": None}
    config |= {"down_block_types": ["CrossAttnDownBlock2D"] * 4, "up_block_types": ["CrossAttnUpBlock2D"] * 4}
    assert (
        unet_config_from({**config, "upcast_attention": None, "dropout": 0, "not_known": False})["context_scale"] == 1
    )


def test_a_vae_or_scheduler_that_does_not_fit_is_refused(stable_diffusion, tmp_path):
    shutil.copytree(stable_diffusion[0], tmp_path / "sd")
    path = tmp_path / "sd" / "vae" / "config.json"
    original = json.loads(path.read_text())
    for name, value in {"in_channels": 4, "act_fn": "relu", "shift_factor": 0.1, "out_channels": 1}.items():
        path.write_text(json.dumps({**original, name: value}))
        with pytest.raises(ConfigurationError, match=rf"vae/config.json: {name} is .*, supported is "):
            from_stable_diffusion(tmp_path / "sd")
    path.write_text(json.dumps({**original, "_class_name": "VQModel"}))
    with pytest.raises(ConfigurationError, match="_class_name is 'VQModel', supported is 'AutoencoderKL'"):
        from_stable_diffusion(tmp_path / "sd")
    path.write_text(json.dumps(original))
    (tmp_path / "sd" / "scheduler" / "scheduler_config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(ConfigurationError, match="give a scheduler of the installed diffusers"):
        from_stable_diffusion(tmp_path / "sd")


def test_a_missing_unknown_or_misshapen_tensor_is_named(stable_diffusion):
    vae = stable_diffusion[2]
    state = vae.state_dict()
    with pytest.raises(ConfigurationError, match=r"quant_conv\.bias is missing"):
        autoencoder_from(vae.config, {name: state[name] for name in state if name != "quant_conv.bias"})
    with pytest.raises(ConfigurationError, match="surprise is not a weight of this layout"):
        autoencoder_from(vae.config, {**state, "surprise": torch.zeros(1)})
    with pytest.raises(
        ConfigurationError, match=r"quant_conv\.bias has the shape \[7\] where config.json asks for \[8\]"
    ):
        autoencoder_from(vae.config, {**state, "quant_conv.bias": torch.zeros(7)})


UNKNOWN = {"context_scale": 16.0, "feed_forward_mult": 2.0, "skip": "aliased", "prompt_map_dim": 8}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_network_of_ours_that_stable_diffusion_cannot_express_is_refused(name):
    config = {"context_scale": 1.0, "feed_forward_mult": 4.0, name: UNKNOWN[name]}
    with pytest.raises(ConfigurationError, match=f"UNet: {name} is {UNKNOWN[name]!r}, supported is "):
        unet_to(tiny.image_denoiser(**config))


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", "stable-diffusion", *map(str, arguments)])
    captured = capsys.readouterr()
    return stop.value.code, captured.out, captured.err


def test_the_command_writes_a_model_that_denoises_for_any_prompt_encoder_of_its_width(
    stable_diffusion, tmp_path, capsys
):
    out = tmp_path / "out"
    code, said, err = command(capsys, "--checkpoint", stable_diffusion[0], "--output", out)
    assert (code, err) == (0, "")
    names = ["image_autoencoder", "image_denoiser", "model_index.json", "scheduler"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert said.split()[:4] == [str(out / name) for name in names]
    assert "not converted: text_encoder;" in said

    pipe = AnyToAnyPipeline.from_pretrained(out, text_prompt_encoder=tiny.text_prompt_encoder())
    assert type(pipe.scheduler) is PNDMScheduler and pipe.scheduler.config.prediction_type == "v_prediction"
    pipe.set_progress_bar_config(disable=True)
    call = {"text": "a rooster", "num_inference_steps": 2, "generator": tiny.seeded()}
    result = pipe(**call, outputs=["image", "video"], num_frames=2)
    assert result.image[0].size == (16, 16) and result.video[0].frames.shape == (2, 16, 16, 3)


def test_bad_input_to_the_command_is_one_line_and_exit_code_2_and_nothing_is_written(
    stable_diffusion, tmp_path, capsys
):
    out = tmp_path / "out"
    pickled = tmp_path / "pickled"
    shutil.copytree(stable_diffusion[0], pickled)
    (pickled / "vae" / WEIGHTS).rename(pickled / "vae" / "diffusion_pytorch_model.bin")
    cut = tmp_path / "cut"
    shutil.copytree(stable_diffusion[0], cut)
    (cut / "unet" / WEIGHTS).write_bytes((cut / "unet" / WEIGHTS).read_bytes()[:1000])
    for checkpoint, message in {
        tmp_path / "nowhere": "nowhere is not a folder; give one saved by diffusers",
        pickled: f"vae: holds no {WEIGHTS}; save the model with diffusers as safetensors",
        cut: f"unet/{WEIGHTS}: cannot be read",
    }.items():
        code, said, err = command(capsys, "--checkpoint", checkpoint, "--output", out)
        assert (code, said) == (2, "") and message in err
        assert err.startswith("error: ") and err.count("\n") == 1
        assert not out.exists()
    code, _, err = command(capsys, "--checkpoint", stable_diffusion[0], "--output", stable_diffusion[0])
    assert code == 2 and "is not empty; give a new folder" in err
