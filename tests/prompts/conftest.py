import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from opencodi.prompts import (
    AudioPromptEncoder,
    ClapAudioPromptEncoder,
    ClipImagePromptEncoder,
    ClipTextPromptEncoder,
    ClipVideoPromptEncoder,
    ImagePromptEncoder,
    TextPromptEncoder,
    VideoPromptEncoder,
)

NOT_ENGLISH = ["[unused1]", "犬", "1984"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *NOT_ENGLISH, "a", "red", "apple", "rooster", "the", "sound", "of"]


def tiny_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def tiny_clip_tokenizer() -> Tokenizer:
    words = ["[UNK]", *WORDS[4:], "<start>", "<end>"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("<start>", len(words) - 2), ("<end>", len(words) - 1)]
    tokenizer.post_processor = processors.TemplateProcessing(single="<start> $A <end>", special_tokens=ends)
    return tokenizer


TINY_TOWER = {"block_out_channels": (8, 16), "layers_per_block": (1, 1), "num_attention_heads": 2, "projection_dim": 16}


@pytest.fixture
def make_text():
    def make(**config) -> TextPromptEncoder:
        torch.manual_seed(0)
        sizes = {"vocab_size": 16, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        sizes |= {"intermediate_size": 16, "max_position_embeddings": 16, "max_length": 8, "projection_dim": 16}
        encoder = TextPromptEncoder(**{**sizes, **config}).eval()
        encoder.tokenizer = tiny_tokenizer()
        return encoder

    return make


@pytest.fixture
def make_image():
    def make(**config) -> ImagePromptEncoder:
        torch.manual_seed(0)
        return ImagePromptEncoder(**{**TINY_TOWER, "sample_size": 32, **config}).eval()

    return make


@pytest.fixture
def make_audio():
    def make(**config) -> AudioPromptEncoder:
        torch.manual_seed(0)
        small = {"num_samples": 4096, "num_mel_bins": 32, "patch_size": 4}
        return AudioPromptEncoder(**{**TINY_TOWER, **small, **config}).eval()

    return make


@pytest.fixture
def make_video(make_image):
    def make(**config) -> VideoPromptEncoder:
        small = {"num_frames": 4, "temporal_width": 16, "temporal_layers": 1, "temporal_num_attention_heads": 2}
        return VideoPromptEncoder.for_image_encoder(make_image(), **{**small, **config}).eval()

    return make


TINY_CLIP = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY_CLIP |= {"projection_dim": 16, "unconditional": "zeros"}


@pytest.fixture
def make_clip_text():
    def make(**config) -> ClipTextPromptEncoder:
        torch.manual_seed(0)
        tokenizer = tiny_clip_tokenizer()
        sizes = {"vocab_size": tokenizer.get_vocab_size(), "max_position_embeddings": 8}
        encoder = ClipTextPromptEncoder(**{**TINY_CLIP, **sizes, **config}).eval()
        encoder.tokenizer = tokenizer
        return encoder

    return make


@pytest.fixture
def make_clip_image():
    def make(**config) -> ClipImagePromptEncoder:
        torch.manual_seed(0)
        return ClipImagePromptEncoder(**{**TINY_CLIP, "image_size": 32, "patch_size": 16, **config}).eval()

    return make


@pytest.fixture
def make_clip_video():
    def make(**config) -> ClipVideoPromptEncoder:
        torch.manual_seed(0)
        sizes = {name: value for name, value in TINY_CLIP.items() if name != "intermediate_size"}
        return ClipVideoPromptEncoder(**{**sizes, **config}).eval()

    return make


@pytest.fixture
def make_clap_audio():
    def make(**config) -> ClapAudioPromptEncoder:
        torch.manual_seed(0)
        small = {"num_samples": 122400, "num_mel_bins": 16, "spec_size": 64, "patch_embeds_hidden_size": 8}
        small |= {"depths": (1, 1), "num_attention_heads": (2, 2), "projection_dim": 16, "unconditional": "zeros"}
        return ClapAudioPromptEncoder(**{**small, **config}).eval()

    return make
