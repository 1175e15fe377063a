"""Follow one prompt through the rooms of a model and write the page that tells of it, with the numbers that were there.

    python benchmarks/walk_through.py --output docs/walk-through.md

The prompt is a text and a picture that the model made before. The page says how each is read, how they are mixed, what
noise becomes at every step, and how long each room took beside the others.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from opencodi import AnyToAnyPipeline
from opencodi.modality import MODALITIES

WORDS, PICTURE_WORDS = "a rooster", "a red apple"
WEIGHTS = {"text": 1.0, "image": 0.5}
OUTPUTS = ("text", "image", "audio")
PAGE = """\
# A prompt's way through the rooms

One call of the bundled model, room by room, with the numbers that were there. This command writes the page:
`python benchmarks/walk_through.py --output docs/walk-through.md`

```python
pipe(text="{words}", image=picture, weights={{"text": 1, "image": 0.5}}, outputs={outputs})
```

The picture was made from "{picture_words}" before.

![What the picture is](figures/walk-through-in.png)

## 1. Files to objects: `media`

The text stays a `str` of {characters} characters. The picture becomes {picture_size} pixels in red, green and blue.

## 2. Objects to the shared space: `prompts`

Each prompt encoder turns its input into tokens `[batch, tokens, width]`. The first token is the aligned embedding, of
length 1.

{encoded}

The cosine between two embeddings says how near their meanings are. Training aligned every modality to text, so
pictures and sounds are near the words that describe them.

{cosines}

## 3. One prompt of many: `mixing`

Weights are divided by their sum, and embeddings are interpolated. The mixture is shorter than 1, because its parts
point in different directions.

{mixed}

## 4. Noise: `sampling`

Every output starts from noise of its own, drawn for its name from the seed of the sample. Its shape is that of the
latents.

{noise}

## 5. Denoising together: `sampling`, `denoisers`

At each tick some outputs step. Outputs with fewer steps wait between theirs, so that all are about equally noisy.
*Standard deviation* is that of the latents. *Likeness* is the cosine to the latents at the end.

{ticks}

The bundled model uses [extras](extras.md) here. At each tick `summed_evidence` gives every output the prompt that all
noisy latents and the inputs support together. Where the text steps again after the longest schedule, `proofreading`
makes it a second time.

## 6. Latents to objects: `latents`

{decoded}

![What was made](figures/walk-through-out.png)

The text that was made: "{text}".

## What takes how long

Shares of the call, parts loaded before, measured once: {shares}. Ratios between rooms change with the machine; the
order does not."""


def main() -> None:
    """Make the call, note what passes, and write the page and its two pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="stickers")
    parser.add_argument("--output", type=Path, default=Path("docs/walk-through.md"))
    options = parser.parse_args()
    figures = options.output.parent / "figures"
    figures.mkdir(parents=True, exist_ok=True)

    pipe = AnyToAnyPipeline.from_pretrained(options.model)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe(text=PICTURE_WORDS, outputs="image", generator=seeded()).image[0]
    picture.resize((128, 128), Image.Resampling.NEAREST).save(figures / "walk-through-in.png")
    call = {"text": WORDS, "image": picture, "weights": WEIGHTS, "outputs": OUTPUTS}
    pipe(**call, generator=seeded(), num_inference_steps=1)  # loads every part

    steps: list[tuple[dict[str, float], dict[str, torch.Tensor]]] = []

    def note(_: Any, tick: int, timesteps: dict[str, Any], tensors: dict[str, Any]) -> None:
        times = {modality: float(torch.as_tensor(time).flatten()[0]) for modality, time in timesteps.items()}
        steps.append((times, {modality: latents.clone() for modality, latents in tensors["latents"].items()}))

    result = pipe(**call, generator=seeded(), callback_on_step_end=note)
    result.image[0].resize((256, 256), Image.Resampling.LANCZOS).save(figures / "walk-through-out.png")
    whole = sum(result.seconds.values())
    options.output.write_text(
        PAGE.format(
            words=WORDS,
            picture_words=PICTURE_WORDS,
            outputs=list(OUTPUTS),
            characters=len(WORDS),
            picture_size=f"{picture.width} x {picture.height}",
            **prompt_tables(pipe, picture),
            noise=noise_table(pipe, steps[0][1], result.text[0]),
            ticks=tick_table(steps),
            decoded=decoded_table(result, steps[-1][1]),
            text=result.text[0],
            shares=", ".join(f"{name} {seconds / whole:.0%}" for name, seconds in result.seconds.items()),
        ),
        encoding="utf-8",
    )
    print(options.output)


def prompt_tables(pipe: Any, picture: Image.Image) -> dict[str, str]:
    """How the inputs are read and mixed, without extras: what the paper has."""
    read = {
        f'text "{WORDS}"': pipe.encode_prompt(text=WORDS, extras=()),
        "the picture": pipe.encode_prompt(image=picture, extras=()),
    }
    others = {f'text "{words}"': pipe.encode_prompt(text=words, extras=()) for words in (PICTURE_WORDS, "a drum")}
    mixed = pipe.encode_prompt(text=WORDS, image=picture, weights=WEIGHTS, extras=())
    vectors = {name: condition.tokens[0, 0] for name, condition in {**read, **others}.items()}

    def cosine(one: torch.Tensor, other: torch.Tensor) -> str:
        return f"{torch.cosine_similarity(one, other, dim=0):.2f}"

    rows = [
        [name, str(list(condition.tokens.shape)), f"{condition.tokens[0, 0].norm():.2f}", first_numbers(condition)]
        for name, condition in read.items()
    ]
    near = [[name, *(cosine(vectors[name], other) for other in vectors.values())] for name in vectors]
    total = sum(WEIGHTS.values())
    mixture = [
        ["length", f"{mixed.tokens[0, 0].norm():.2f}"],
        ["shares", ", ".join(f"{name} {weight / total:.2f}" for name, weight in WEIGHTS.items())],
        *([f"cosine to {name}", cosine(mixed.tokens[0, 0], vector)] for name, vector in vectors.items()),
    ]
    return {
        "encoded": table(["input", "tokens", "length of the first", "its first numbers"], rows),
        "cosines": table(["", *vectors], near),
        "mixed": table(["of the mixture", ""], mixture),
    }


def first_numbers(condition: Any) -> str:
    return ", ".join(f"{number:.3f}" for number in condition.tokens[0, 0, :4].tolist()) + ", …"


@torch.no_grad()
def noise_table(pipe: Any, latents: dict[str, torch.Tensor], text: str) -> str:
    """The shapes of what is denoised, and of the media that these become."""
    rows = []
    for modality in OUTPUTS:
        codec = MODALITIES[modality].build_codec(pipe.parts.get)
        is_text = modality == "text"
        size = len(text) if is_text else codec.decode_arrays(latents[modality])[0].size
        what = "characters" if is_text else "numbers"
        rows.append(
            [modality, str(list(latents[modality].shape)), f"{latents[modality].numel():,}", f"{size:,} {what}"]
        )
    return table(["output", "latents", "numbers", "once decoded"], rows)


def tick_table(steps: list[tuple[dict[str, float], dict[str, torch.Tensor]]]) -> str:
    """Each tick: who stepped at which timestep, and what the latents were like afterwards."""
    last = steps[-1][1]
    rows = []
    for tick, (times, latents) in enumerate(steps, start=1):
        cells = [str(tick)]
        for modality in OUTPUTS:
            if modality not in times:
                cells.append("waits")
                continue
            now = latents[modality].flatten()
            likeness = torch.cosine_similarity(now, last[modality].flatten(), dim=0)
            cells.append(f"t {times[modality]:.0f}: {now.std():.2f}, {likeness:.2f}")
        rows.append(cells)
    return table(["tick", *(f"{modality}: timestep, standard deviation, likeness" for modality in OUTPUTS)], rows)


def decoded_table(result: Any, latents: dict[str, torch.Tensor]) -> str:
    """From latents to what people see, hear and read."""
    sound = result.audio[0]
    what = {
        "text": f'"{result.text[0]}"',
        "image": f"{result.image[0].width} x {result.image[0].height} pixels",
        "audio": f"{sound.seconds:.2f} s at {sound.sample_rate / 1000:g} kHz, peak {abs(sound.samples).max():.2f}",
    }
    rows = [[m, str(list(latents[m].shape)), type(result[m][0]).__name__, what[m]] for m in OUTPUTS]
    return table(["output", "latents", "object", "what it is"], rows)


def table(titles: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (titles, ["---"] * len(titles), *rows))


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


if __name__ == "__main__":
    main()
