import io
import tarfile
from pathlib import Path

import soundfile
import torch

from opencodi.latents.mel import prepare_waveform


def spoken(count: int, num_samples: int = 32768) -> torch.Tensor:
    """Real spoken names from the sample collection: [count, num_samples] at 16 kHz."""
    with tarfile.open(Path(__file__).parents[1] / "data" / "speech.tar.gz") as shard:
        names = sorted(name for name in shard.getnames() if name.endswith(".ogg"))[:count]
        sounds = [soundfile.read(io.BytesIO(shard.extractfile(name).read()), dtype="float32")[0] for name in names]
    return torch.stack([prepare_waveform(torch.from_numpy(sound), 0.9, num_samples) for sound in sounds])
