"""Any inputs → encode → mix → denoise together → decode → any outputs (paper Figure 2)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from . import arguments
from .denoisers import ComposedDenoiser
from .errors import ArgumentError
from .loading import PartsByModality
from .modality import MODALITIES, Modality, parse_modalities
from .output import AnyToAnyOutput, timed
from .prompts import Condition
from .reading import ANCHORS, MANNER, PROMPT_ENCODERS, ReadingPipeline
from .sampling import sample
from .sampling.joint_sampler import due_steps
from .sampling.noise import Generators, initial_noise, sample_seeds, streams

DEFAULT_STEPS = 20
DEFAULT_GUIDANCE = 2.0

AUTOENCODERS = ["text_autoencoder", "image_autoencoder", "audio_autoencoder", "audio_vocoder"]
DENOISERS = list(dict.fromkeys(MODALITIES[modality].denoiser for modality in MODALITIES))
ADAPTERS = list(dict.fromkeys(name for each in MODALITIES.values() for name in (each.temporal, each.alignment) if name))
EXTRAS = {
    Modality.TEXT: ["text_prompt_map", "text_environment_map"],
    Modality.IMAGE: ["image_manner_embedding", "image_prompt_map", "image_environment_map"],
    Modality.VIDEO: ["image_manner_embedding", "image_prompt_map", "video_motion_map", "image_environment_map"],
    Modality.AUDIO: ["audio_manner_embedding", "audio_prompt_map", "audio_environment_map"],
}
"""Adapters beyond the paper, by output."""

EXTRA_PARTS = list(dict.fromkeys(name for names in EXTRAS.values() for name in names))


class AnyToAnyPipeline(ReadingPipeline):
    """Generates any combination of text, image, video and audio from any combination of them.

    Every component may be ``None``; what is missing only narrows what the pipeline can read or make. From a model folder
    (``from_pretrained``) components are read when they are first needed.

    Args:
        text_prompt_encoder, image_prompt_encoder, video_prompt_encoder, audio_prompt_encoder: turn inputs into
            conditions in one shared space.
        prompt_anchors: draws prompts towards texts that are known, most of all those that are not only text
            (``PromptAnchors``); None leaves them where they are.
        manner_reader: reads which style and which motion inputs ask for (``MannerReader``); None: prompts say only what.
        text_autoencoder, text_tokenizer, image_autoencoder, audio_autoencoder, audio_vocoder: turn latents into media.
            Video uses the image autoencoder, frame by frame.
        text_denoiser, image_denoiser, audio_denoiser: turn noise into latents. Video uses the image denoiser.
        video_temporal: what a video has beyond an image (``TemporalAdapter``).
        text_alignment, image_alignment, audio_alignment: let outputs that are made together see one another
            (``AlignmentAdapter``). Video uses that of the image.
        text_prompt_map, …, audio_environment_map: adapters beyond the paper (``opencodi.extras``).
        scheduler: any diffusers scheduler; each output modality works with its own copy.
        exchange: ``"others"``: while they are denoised together, each modality attends to the others; ``"self"``: to
            itself, as the published code does (SPEC §0.1).
        exchange_order, exchange_lag: of the outputs made together, each begins ``exchange_lag`` of a schedule after the one
            before it in this order: the first decide what is shown, the later see it already clear.
        guide_exchange: guidance leads an output towards the others it is made with, not towards the prompt alone.
        exchange_weight: a finished output counts as one more input of the others, with this weight beside the 1 of the prompt.
        reread_outputs: it is decoded and read by its prompt encoder then, as any input is; else (or without that encoder) by
            the environment encoder of its denoiser.
        anchor_exchange: ``prompt_anchors`` also move what the outputs see of one another, which lies in the space of prompts.
        bridge_text: where no text is asked for, one is made all the same, and the outputs see it: several agree on what they
            show through it, and inputs that are not text alone are named first. A single output of a text needs none.
        proofread_text: a text is drawn once more, prompted by what it says alone: a broken word becomes the nearest known one;
            where a sound is made and the prompt leaves it open, or nothing else is made, the nearest that has one.
        num_inference_steps, guidance_scale, guidance_interval, num_candidates: what a call takes unless it says otherwise; one
            value for all outputs, or one for each as a dictionary.

    Example:
        >>> pipe = AnyToAnyPipeline.from_pretrained("stickers")
        >>> out = pipe(text="a rooster", outputs=["image", "audio"], generator=torch.Generator().manual_seed(0))
        >>> out.save("rooster")
    """

    model_cpu_offload_seq = "->".join([*PROMPT_ENCODERS, ANCHORS, MANNER, *AUTOENCODERS])
    # The denoisers take turns at every step, so they stay on the device together.
    _exclude_from_cpu_offload: ClassVar = [*DENOISERS, *ADAPTERS, *EXTRA_PARTS]
    # Small beside what they compute, and some read weights without calling the layers that hold them.
    _whole_with_sequential_offload = "->".join([*AUTOENCODERS, ANCHORS, MANNER])
    _optional_components: ClassVar = [
        *(*PROMPT_ENCODERS, ANCHORS, MANNER),
        *(*AUTOENCODERS, "text_tokenizer"),
        *(*DENOISERS, *ADAPTERS, *EXTRA_PARTS, "scheduler"),
    ]
    _callback_tensor_inputs: ClassVar = ["latents"]

    def __init__(
        self,
        text_prompt_encoder: Any = None,
        image_prompt_encoder: Any = None,
        video_prompt_encoder: Any = None,
        audio_prompt_encoder: Any = None,
        prompt_anchors: Any = None,
        manner_reader: Any = None,
        text_autoencoder: Any = None,
        text_tokenizer: Any = None,
        image_autoencoder: Any = None,
        audio_autoencoder: Any = None,
        audio_vocoder: Any = None,
        text_denoiser: Any = None,
        image_denoiser: Any = None,
        audio_denoiser: Any = None,
        video_temporal: Any = None,
        text_alignment: Any = None,
        image_alignment: Any = None,
        audio_alignment: Any = None,
        text_prompt_map: Any = None,
        text_environment_map: Any = None,
        image_manner_embedding: Any = None,
        image_prompt_map: Any = None,
        image_environment_map: Any = None,
        video_motion_map: Any = None,
        audio_manner_embedding: Any = None,
        audio_prompt_map: Any = None,
        audio_environment_map: Any = None,
        scheduler: Any = None,
        exchange: str = "others",
        exchange_order: Sequence[str] = (),
        exchange_lag: float = 0.0,
        guide_exchange: bool = False,
        exchange_weight: float = 0.0,
        anchor_exchange: bool = False,
        reread_outputs: bool = False,
        proofread_text: bool = False,
        bridge_text: bool = False,
        num_inference_steps: int | Mapping[str, int] = DEFAULT_STEPS,
        guidance_scale: float | Mapping[str, float] = DEFAULT_GUIDANCE,
        guidance_interval: Sequence[float] | Mapping[str, Sequence[float]] = (0.0, 1.0),
        num_candidates: int | Mapping[str, int] = 1,
    ) -> None:
        super().__init__()
        self.register_modules(
            text_prompt_encoder=text_prompt_encoder,
            image_prompt_encoder=image_prompt_encoder,
            video_prompt_encoder=video_prompt_encoder,
            audio_prompt_encoder=audio_prompt_encoder,
            prompt_anchors=prompt_anchors,
            manner_reader=manner_reader,
            text_autoencoder=text_autoencoder,
            text_tokenizer=text_tokenizer,
            image_autoencoder=image_autoencoder,
            audio_autoencoder=audio_autoencoder,
            audio_vocoder=audio_vocoder,
            text_denoiser=text_denoiser,
            image_denoiser=image_denoiser,
            audio_denoiser=audio_denoiser,
            video_temporal=video_temporal,
            text_alignment=text_alignment,
            image_alignment=image_alignment,
            audio_alignment=audio_alignment,
            text_prompt_map=text_prompt_map,
            text_environment_map=text_environment_map,
            image_manner_embedding=image_manner_embedding,
            image_prompt_map=image_prompt_map,
            image_environment_map=image_environment_map,
            video_motion_map=video_motion_map,
            audio_manner_embedding=audio_manner_embedding,
            audio_prompt_map=audio_prompt_map,
            audio_environment_map=audio_environment_map,
            scheduler=scheduler,
        )
        self.register_to_config(
            exchange=exchange,
            exchange_order=list(exchange_order),
            exchange_lag=exchange_lag,
            guide_exchange=guide_exchange,
            exchange_weight=exchange_weight,
            anchor_exchange=anchor_exchange,
            reread_outputs=reread_outputs,
            proofread_text=proofread_text,
            bridge_text=bridge_text,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            num_candidates=num_candidates,
        )

    @property
    def defaults(self) -> dict[str, Any]:
        """What a call takes for steps, guidance and candidates unless it says otherwise."""
        names = ("num_inference_steps", "guidance_scale", "guidance_interval", "num_candidates")
        return {name: self.config[name] for name in names}

    @property
    def denoisers(self) -> Mapping[Modality, Any]:
        """What this model can make: output modality → denoiser. Image and video share one."""
        return PartsByModality(self, {modality: info.denoiser for modality, info in MODALITIES.items()})

    @torch.no_grad()
    def __call__(
        self,
        text: Any = None,
        image: Any = None,
        video: Any = None,
        audio: Any = None,
        outputs: str | Sequence[str] = ("image",),
        *,
        weights: Mapping[str, float | Sequence[float]] | None = None,
        negative_prompt: str | list[str] | None = None,
        num_inference_steps: int | Mapping[str, int] | None = None,
        guidance_scale: float | Mapping[str, float] | None = None,
        guidance_interval: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
        num_candidates: int | Mapping[str, int] | None = None,
        num_outputs_per_prompt: int = 1,
        generator: Generators = None,
        latents: Mapping[str, torch.Tensor] | None = None,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        seconds: float | None = None,
        text_decoding: str = "greedy",
        output_type: str = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[..., dict[str, Any] | None] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> AnyToAnyOutput | tuple[Any, ...]:
        """Generate.

        Args:
            text, image, video, audio: what to generate from: ``str``, ``PIL.Image.Image``, ``Video``, ``Audio``;
                without any, the result is unconditional. An item is one prompt, a *list* is a batch of prompts, and a
                *tuple* is several conditions of that modality for one prompt; a single item serves every prompt.
            outputs: what to generate: names of modalities, ``"image,audio"`` or ``"all"``.
            weights: how much each input counts, such as ``{"text": 1, "image": 0.5}``; 1 where not named. They are
                normalised to add up to one. A number is shared equally by the conditions of its modality, a sequence
                weighs each of them.
            negative_prompt: text to steer away from, one for all prompts or one for each; it takes the place of the
                unconditional half. Without effect where the guidance scale is 1.
            num_inference_steps: denoising steps, for all outputs or such as ``{"image": 30, "text": 10}``; the model's own
                number (``defaults``) where not given.
            guidance_scale: classifier-free guidance scale (w of w * conditional + (1 - w) * unconditional), for all
                outputs or for each; 1 turns it off and halves the work. The model's own (``defaults``) where not given.
            guidance_interval: which part of an output's steps is guided, ``(start, end)`` of 1 from noise to result, for all
                or for each; the others have scale 1, at half the work.
            num_candidates: how many of each output are made, for all or for each, of which the one is kept that its prompt
                encoder reads nearest to what it was made from (as Ramesh et al. 2021 do with CLIP, Liu et al. 2023 with CLAP).
            num_outputs_per_prompt: results of every prompt, each from noise of its own.
            generator: where all randomness comes from. From a list, each result (ordered by prompt) takes its own
                generator; a single one gives each result in turn a seed of its own. Noise does not depend on the place
                in the batch, on the device, or on which other outputs are made.
            latents: initial noise instead of drawn noise, ``{output: [batch, ...]}`` of unit variance: one candidate of each.
            height, width: of images and clips, in pixels; the model's own size by default.
            num_frames: of clips; the model's own number by default.
            seconds: of sounds; the model's own length by default, and the nearest it can make to any other.
            text_decoding: ``"greedy"``: the likeliest word at each step; ``"sample"``: words drawn with the generator.
            output_type: ``"pil"`` for media objects (pictures as ``PIL.Image.Image``); ``"np"`` for float32 arrays: images
                [B, H, W, 3] and video [B, F, H, W, 3] in [0, 1], audio [B, T]; ``"latent"`` for latents.
            return_dict: ``False`` returns the tuple ``(text, image, video, audio)``.
            callback_on_step_end: called after each step as ``callback(pipeline, step, timesteps, tensors)``, where
                ``tensors["latents"]`` is ``{output: latents}`` (of all candidates, those of a result in a row, until one is
                kept) and ``timesteps`` is ``{output: timestep}`` of those that stepped; a dictionary it returns, such as
                ``{"latents": {output: latents}}``, replaces them.
            callback_on_step_end_tensor_inputs: which tensors the callback gets; only ``"latents"`` is offered.

        Returns:
            The results per modality, ``None`` where not asked for.

        Raises:
            ArgumentError: if an argument is unknown, contradictory or out of range, or this model lacks a part that an
                input or output needs.
        """
        # Errors at the door
        wanted = parse_modalities(outputs)
        given = {Modality.TEXT: text, Modality.IMAGE: image, Modality.VIDEO: video, Modality.AUDIO: audio}
        inputs, batch_size = arguments.collect_inputs(given)
        shares = arguments.collect_weights(weights, inputs)
        negatives = arguments.collect_negatives(negative_prompt, batch_size)
        steps, guidance = self.steps_and_guidance(wanted, num_inference_steps, guidance_scale)
        arguments.positive_integer("num_outputs_per_prompt", num_outputs_per_prompt)
        arguments.one_of("text_decoding", text_decoding, ("greedy", "sample"))
        arguments.one_of("output_type", output_type, ("pil", "np", "latent"))
        for name in callback_on_step_end_tensor_inputs:
            arguments.one_of("callback_on_step_end_tensor_inputs", name, self._callback_tensor_inputs)
        if self._needs_bridge(inputs, wanted):
            bridge = self.steps_and_guidance([Modality.TEXT])
            steps, guidance = bridge[0] | steps, bridge[1] | guidance
        spread, own = arguments.per_output, self.config
        intervals = spread("guidance_interval", guidance_interval, steps, own, arguments.interval)
        candidates = spread("num_candidates", num_candidates, steps, own, arguments.positive_integer)
        candidates |= {modality: 1 for modality in candidates if modality in (latents or {})}
        chosen = [modality for modality, number in candidates.items() if number > 1]
        self._check_parts(inputs, wanted, bool(negatives), chosen)
        asked, wanted = wanted, list(steps)
        together = len(wanted) > 1
        led = bool(inputs or negatives) or (together and self.config.guide_exchange)
        guided = led and any(scale != 1 for scale in guidance.values())
        clock: dict[str, float] = {}

        # Draw noise of its own for every result and modality
        size = {"height": height, "width": width, "num_frames": num_frames, "seconds": seconds}
        num_samples = batch_size * num_outputs_per_prompt
        shapes = self._latent_shapes(wanted, num_samples, size)
        seeds = sample_seeds(generator, num_samples)
        noise = {
            modality: initial_noise(
                shapes[modality],
                streams(seeds, modality),
                self._shared_frame_noise(modality),
                candidates[modality],
            )
            for modality in wanted
        }
        noise |= arguments.collect_latents(latents, {modality: shapes[modality] for modality in asked})

        # Encode every input into the shared space, and mix (paper §3.2)
        with timed(clock, "encode"):
            condition = self.encode_prompts(inputs, shares, batch_size, asked)
            unconditional = self.encode_unconditional(inputs, shares, batch_size, negatives) if guided else condition
        condition = condition.repeated(num_outputs_per_prompt)
        if self.has(MANNER) and Modality.VIDEO not in wanted:  # clips are of the style that is drawn if none is named
            condition = self.manner_reader.in_some_style(condition, streams(seeds, "style"))
        courses = self._courses(condition, shapes)
        reread = together and bool(self.config.exchange_weight) and self.config.reread_outputs
        proofread = Modality.TEXT in wanted and self.config.proofread_text and self.has("text_prompt_encoder")
        # A sound that is made of words, or of nothing, must be of something that has one
        heard = condition.tokens[:, 0] if Modality.AUDIO in wanted and not set(inputs) - {Modality.TEXT} else None
        only_heard = asked == [Modality.AUDIO]
        if not (reread or proofread or chosen):
            self._done_with(*PROMPT_ENCODERS, ANCHORS, MANNER)

        # Denoise all outputs together, each seeing the others (paper §3.4)
        with timed(clock, "denoise"), self.progress_bar(total=self.num_ticks(steps)) as bar:
            denoisers = {modality: self._denoiser(modality, len(wanted) > 1) for modality in wanted}
            # Where and in which precision they run; asked once, since diffusers looks through every module for it
            place = {"device": self._execution_device, "dtype": denoisers[wanted[0]].dtype}

            steps_of_text = 0

            def after_step(tick: int, timesteps: dict, current: dict) -> dict | None:
                nonlocal steps_of_text
                bar.update()
                changed = {}
                steps_of_text += Modality.TEXT in timesteps
                if proofread and Modality.TEXT in timesteps and steps_of_text == steps[Modality.TEXT]:
                    start = noise[Modality.TEXT][:: candidates[Modality.TEXT]]
                    text = current[Modality.TEXT], start.to(**place), steps[Modality.TEXT]
                    changed[Modality.TEXT] = self._proofread(*text, guidance[Modality.TEXT], heard, only_heard)
                if callback_on_step_end is None:
                    return changed
                offered = {"latents": {**current, **changed}}
                tensors = {name: offered[name] for name in callback_on_step_end_tensor_inputs}
                return changed | ((callback_on_step_end(self, tick, timesteps, tensors) or {}).get("latents") or {})

            denoised = sample(
                denoisers,
                dict.fromkeys(wanted, self.scheduler),
                {modality: x.to(**place) for modality, x in noise.items()},
                condition.to(**place),
                unconditional.repeated(num_outputs_per_prompt).to(**place),
                num_inference_steps=steps,
                guidance_scale=guidance if guided else dict.fromkeys(wanted, 1.0),
                guidance_interval=intervals,
                exchange=self.config.exchange,
                exchange_order=self.config.exchange_order,
                exchange_lag=self.config.exchange_lag,
                guide_exchange=self.config.guide_exchange,
                exchange_weight=self.config.exchange_weight,
                anchors=self.prompt_anchors.move if self.config.anchor_exchange and self.has(ANCHORS) else None,
                read=self._read_latents if reread else None,
                embed=self._embed_latents,
                generator=streams(seeds, "steps"),
                callback=after_step,
            )
            del denoisers
            denoised = {modality: denoised[modality] for modality in asked}
        self._done_with(*DENOISERS, *ADAPTERS, *EXTRA_PARTS, *PROMPT_ENCODERS, ANCHORS, MANNER)

        # Decode into what people see, hear and read
        if output_type == "latent":
            result = AnyToAnyOutput(**denoised)
        else:
            decode = "decode_arrays" if output_type == "np" else "decode"
            options: dict[Modality, dict[str, Any]] = {Modality.VIDEO: {"courses": courses}}
            if text_decoding == "sample":
                options[Modality.TEXT] = {"generator": streams(seeds, "words")}
            with timed(clock, "decode"):
                made = {m: getattr(self._codec(m), decode)(x, **options.get(m, {})) for m, x in denoised.items()}
            result = AnyToAnyOutput(**made) if output_type == "np" else AnyToAnyOutput.from_media(made)
            self._done_with(*AUTOENCODERS)
        result.seconds = clock
        self.maybe_free_model_hooks()
        return result if return_dict else result.to_tuple()

    def steps_and_guidance(
        self,
        outputs: Sequence[Modality],
        num_inference_steps: int | Mapping[str, int] | None = None,
        guidance_scale: float | Mapping[str, float] | None = None,
    ) -> tuple[dict[Modality, int], dict[Modality, float]]:
        """What a call that is given these works with, for each output.

        Raises:
            ArgumentError: if a value is not a number that makes sense, or names what is not among the outputs.
        """
        spread, known = arguments.per_output, self.config
        return (
            spread("num_inference_steps", num_inference_steps, outputs, known, arguments.positive_integer),
            spread("guidance_scale", guidance_scale, outputs, known, arguments.finite_number),
        )

    def _needs_bridge(self, inputs: arguments.Inputs, outputs: Sequence[Modality]) -> bool:
        """Whether a text is made that nobody asked for.

        Not where a text alone is given and one output asked for: that text is the name already. A text mixed with other
        inputs is none, since the mixture of a picture's and a text's embedding lies near neither, and is named first as well.
        """
        named = len(outputs) == 1 and set(inputs) == {Modality.TEXT}
        if not self.config.bridge_text or Modality.TEXT in outputs or named:
            return False
        return all(self.has(name) for name in arguments.needed_parts([Modality.TEXT], [Modality.TEXT]))

    def num_ticks(self, num_inference_steps: Mapping[Modality, int]) -> int:
        """How often ``callback_on_step_end`` is called when the outputs take so many steps each."""
        return len(due_steps(num_inference_steps, self.config.exchange_order, self.config.exchange_lag))

    def _courses(self, condition: Condition, shapes: Mapping[Modality, tuple[int, ...]]) -> torch.Tensor | None:
        """Where clips move what they show, [B, F, 2, 3]; None without clips, or where no motion is read."""
        if Modality.VIDEO not in shapes or not self.has(MANNER) or condition.manner is None:
            return None
        return self.manner_reader.courses(condition, shapes[Modality.VIDEO][2])

    def _latent_shapes(
        self, outputs: list[Modality], num_samples: int, size: Mapping[str, Any]
    ) -> dict[Modality, tuple[int, ...]]:
        """Shapes of the latents to make, from the configs alone, so that nothing is loaded for a bad size."""
        shapes = {m: self._codec(m, self.skeleton).latent_shape(num_samples, **size) for m in outputs}
        if Modality.VIDEO in outputs:
            most, frames = self.part_config(MODALITIES[Modality.VIDEO].temporal)["max_frames"], shapes[Modality.VIDEO][2]
            if frames > most:
                raise ArgumentError(f"num_frames: {frames} frames asked, this model knows positions for {most}")
        return shapes

    def _denoiser(self, modality: Modality, together: bool = False) -> ComposedDenoiser:
        """The network of an output with the adapters that this call needs."""
        record = MODALITIES[modality]
        alignment = record.alignment if together else None
        extras = [name for name in EXTRAS.get(modality, ()) if together or not name.endswith("environment_map")]
        return ComposedDenoiser(
            getattr(self, record.denoiser),
            None if record.temporal is None else getattr(self, record.temporal),
            None if alignment is None else getattr(self, alignment),
            [getattr(self, name) for name in extras if self.has(name)],
        )

    def _shared_frame_noise(self, modality: Modality) -> float:
        temporal = MODALITIES[modality].temporal
        return 0.0 if temporal is None else self.part_config(temporal).get("shared_frame_noise", 0.0)

    def _check_parts(
        self, inputs: arguments.Inputs, outputs: list[Modality], negative: bool, chosen: list[Modality]
    ) -> None:
        """Refuse what this model lacks a part for."""
        for name, purpose in arguments.needed_parts(inputs, outputs, negative, chosen).items():
            if not self.has(name):
                raise ArgumentError(f"this model has no {name}, which it needs {purpose}")
        if not self.prompt_encoders:
            raise ArgumentError("this model has no prompt encoder; it needs one even without any input")
