import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from opencodi.prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "apple", "rooster", "the", "sound", "of"]


def tiny_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
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
        return VideoPromptEncoder.from_image_prompt_encoder(make_image(), **{**small, **config}).eval()

    return make
