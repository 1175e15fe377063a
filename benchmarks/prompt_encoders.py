"""What the prompt encoders of a model make of items that they never learned from: names, and captions of withheld scenes.

    python benchmarks/prompt_encoders.py recipes/stickers-2/bridging_image.yaml --model runs/stickers-2 --data FOLDER

For every source of the recipe: the share of the held items whose nearest of all 1,615 names is their own (top-1 and top-5), or
for scenes the share whose nearest caption is their own, and whose caption finds them.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from opencodi.collections import find_collection
from opencodi.data.augment import audio_batch, over_white
from opencodi.data.shards import find_data
from opencodi.modality import MODALITIES, Modality
from opencodi.prompts import AudioPromptEncoder, ImagePromptEncoder, TextPromptEncoder, VideoPromptEncoder
from opencodi.training.components import ModelFolder
from opencodi.training.recipe import checked, load_recipe
from opencodi.training.tasks import find_task

AT_ONCE = 32


def embeddings(modality: str, parts: ModelFolder, media: Any) -> torch.Tensor:
    """Aligned embeddings [N, D] of held items."""
    image = parts.load(ImagePromptEncoder, "image_prompt_encoder") if modality != Modality.AUDIO else None

    def read(items: np.ndarray) -> torch.Tensor:
        if modality == Modality.IMAGE:
            return image.see(over_white(items)).tokens[:, 0]
        if modality == Modality.AUDIO:
            return parts.load(AudioPromptEncoder, "audio_prompt_encoder")(waveform=audio_batch(items)).tokens[:, 0]
        encoder = parts.load(VideoPromptEncoder, "video_prompt_encoder")
        size = image.config.sample_size
        frames = torch.nn.functional.interpolate(over_white(items).flatten(0, 1), size=(size, size), mode="bilinear")
        frames = frames.unflatten(0, items.shape[:2]).transpose(1, 2)
        return encoder(**encoder.frames(frames, image)).tokens[:, 0]

    return in_parts(read, media)


def in_parts(read: Callable[[Any], torch.Tensor], items: Any) -> torch.Tensor:
    """``read`` on a few items at a time."""
    return torch.cat([read(items[start : start + AT_ONCE]) for start in range(0, len(items), AT_ONCE)])


@torch.no_grad()
def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    recipe, collection, parts = load_recipe(given.recipe), find_collection("stickers"), ModelFolder(given.model)
    settings = checked(find_task(recipe.task, collection.TASKS).Settings, recipe.settings, "settings")
    data = checked(collection.DATA[recipe.task], recipe.data, "data").load(find_data(given.data), parts, settings)
    text = parts.load(TextPromptEncoder, MODALITIES[Modality.TEXT].prompt_encoder)
    names = in_parts(lambda texts: text.encode(texts).tokens[:, 0], list(data.things))
    found = embeddings(settings.modality, parts, data.held.media)
    print("| source | held items | top-1 % | top-5 % |\n|---|---|---|---|")
    for number, source in enumerate(data.source_names):
        mine = np.flatnonzero(data.held.sources == number)
        told = [place for place in mine if data.held.things[place]]
        if told:
            nearest = (found[told] @ names.T).topk(5).indices.tolist()
            right = [[data.things[n] == data.held.things[place] for n in each] for place, each in zip(told, nearest)]
            first, five = np.mean([each[0] for each in right]), np.mean([any(each) for each in right])
            print(f"| {source} → name | {len(told)} | {100 * first:.0f} | {100 * five:.0f} |")
        elif len(mine):
            captions = in_parts(lambda texts: text.encode(texts).tokens[:, 0], [data.held.captions[p][0] for p in mine])
            cosines = found[mine] @ captions.T
            own = torch.arange(len(mine))[:, None]
            for words, table in (("item → caption", cosines), ("caption → item", cosines.T)):
                top = table.topk(min(5, len(mine))).indices == own
                shares = f"{100 * top[:, 0].float().mean():.0f} | {100 * top.any(1).float().mean():.0f}"
                print(f"| {source}, {words} | {len(mine)} | {shares} |")


if __name__ == "__main__":
    main()
