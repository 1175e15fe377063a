"""Any inputs → encode → mix → denoise together → decode → any outputs (paper Figure 2)."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import torch

from .arguments import CallArguments, collect_latents, one_of
from .errors import ArgumentError
from .extras import EXTRAS, Extra, build
from .modality import MODALITIES, Modality
from .output import AnyToAnyOutput, timed
from .parts import PartsByModality, one_at_a_time_if_needed
from .parts.lora import LoraPipeline
from .prompts import Condition
from .rooms import Rooms
from .sampling import ExchangePlan, Noise, Request, Sampler, Together
from .sampling.noise import sample_seeds, streams
from .sampling.plans import CAPTION_BANK
from .sampling.request import Call
from .sampling.trajectory import Generators
from .settings import DEFAULTS, guidance_of, sort_arguments
from .step_report import StepReport

PLAIN_VALUES = (bool, int, float, str, list, tuple, dict)
EXTRA_ADAPTERS = list(dict.fromkeys(part for extra in EXTRAS.values() for part in extra.adapters))
EXTRA_COMPONENTS = list(
    dict.fromkeys(part for extra in EXTRAS.values() for part in extra.needs if "encoder" not in part)
)


def part_names(*kinds: str) -> list[str]:
    """Names of the parts of these kinds (fields of ``ModalityRecord``) in every modality."""
    found = [getattr(record, kind) for kind in kinds for record in MODALITIES.values()]
    listed = [name for each in found for name in (each.values() if isinstance(each, Mapping) else [each]) if name]
    return list(dict.fromkeys(listed))


EVIDENCE_PARTS = [*part_names("evidence"), CAPTION_BANK]
"""What joint generation by evidence needs beside denoisers; a model may lack it."""


class AnyToAnyPipeline(LoraPipeline):
    """Generates any combination of text, image, video and audio from any combination of them.

    Every component may be missing; that only narrows what the pipeline can read or make. From a model folder
    (``from_pretrained``) components are read when they are first needed.

    Args:
        scheduler: any diffusers scheduler; each output modality works with its own copy.
        exchange: ``"others"``: while they are denoised together, each modality attends to the others; ``"self"``: to
            itself, as the published code does (SPEC §0.1).
        extras: what the paper does not have, ``{name: settings}``, see ``opencodi.extras``; none by default.
        num_inference_steps: what a call takes unless it says otherwise; one value for all outputs, or one for each as a
            dictionary. So are the following.
        guidance_scale, guidance_interval: towards the prompt, see ``opencodi.sampling.Guidance``.
        modality_scale, modality_interval: towards the other outputs of a joint run.
        **components: by the names that ``opencodi.modality.MODALITIES`` gives them (``text_prompt_encoder``,
            ``image_autoencoder``, ``audio_denoiser``, …), and those that extras need.

    Example:
        >>> pipe = AnyToAnyPipeline.from_pretrained("stickers")
        >>> out = pipe(text="a rooster", outputs=["image", "audio"], generator=torch.Generator().manual_seed(0))
        >>> out.save("rooster")
    """

    _optional_components: ClassVar = [
        *part_names("prompt_encoder", "codec_parts", "denoiser", "temporal", "alignment"),
        *(*EVIDENCE_PARTS, *EXTRA_COMPONENTS, *EXTRA_ADAPTERS, "scheduler"),
    ]
    _callback_tensor_inputs: ClassVar = ["latents"]

    def __init__(
        self,
        scheduler: Any = None,
        exchange: str = "others",
        extras: Mapping[str, Mapping[str, Any]] | None = None,
        num_inference_steps: int | Mapping[str, int] = DEFAULTS["num_inference_steps"],
        guidance_scale: float | Mapping[str, float] = DEFAULTS["guidance_scale"],
        guidance_interval: Sequence[float] | Mapping[str, Sequence[float]] = DEFAULTS["guidance_interval"],
        modality_scale: float | Mapping[str, float] | None = None,
        modality_interval: Sequence[float] | Mapping[str, Sequence[float]] = DEFAULTS["guidance_interval"],
        **components: Any,
    ) -> None:
        super().__init__()
        names = self.component_names()
        for name, part in components.items():
            if name not in names and isinstance(part, PLAIN_VALUES):
                raise ArgumentError(f"{name}: is no argument of this pipeline; parts are {', '.join(sorted(names))}")
        self.register_modules(**dict.fromkeys(names) | components | {"scheduler": scheduler})
        settings = {name: dict(each) for name, each in dict(extras or {}).items()}
        self.register_to_config(
            exchange=one_of("exchange", exchange, ("others", "self")),
            extras=settings,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            modality_scale=modality_scale,
            modality_interval=modality_interval,
        )
        self._interrupt = False

    # ------------------------------------------------------------------ what the model is made of

    @staticmethod
    def component_names() -> set[str]:
        """Every component that the modalities and the extras know of."""
        kinds = ("prompt_encoder", "codec_parts", "denoiser", "temporal", "alignment")
        return {*part_names(*kinds), *EVIDENCE_PARTS, *EXTRA_COMPONENTS, *EXTRA_ADAPTERS, "scheduler"}

    @property
    def model_cpu_offload_seq(self) -> str:
        """Parts that take turns on the device, in this order."""
        return "->".join([*part_names("prompt_encoder"), *EXTRA_COMPONENTS, *part_names("codec_parts")])

    @property
    def _exclude_from_cpu_offload(self) -> list[str]:
        # The denoisers take turns at every step, so they stay on the device together.
        return [*part_names("denoiser", "temporal", "alignment"), *EVIDENCE_PARTS, *EXTRA_ADAPTERS]

    @property
    def whole_when_offloaded(self) -> list[str]:
        """Parts that come as a whole: small beside what they compute, or they read weights without calling their layers."""
        return [*part_names("codec_parts"), *EVIDENCE_PARTS, *EXTRA_COMPONENTS]

    @property
    def extras(self) -> dict[str, Extra]:
        """The extras that this model is used with, by name."""
        return build(self.config.extras)

    @property
    def rooms(self) -> Rooms:
        """What its parts do together."""
        return Rooms(self.parts, self.config.extras, self._execution_device)

    @property
    def prompt_encoders(self) -> Mapping[str, Any]:
        """What this model can read: input modality → prompt encoder."""
        return PartsByModality(self.parts, {name: record.prompt_encoder for name, record in MODALITIES.items()})

    @property
    def denoisers(self) -> Mapping[str, Any]:
        """What this model can make: output modality → denoiser. Image and video share one."""
        return PartsByModality(self.parts, {name: record.denoiser for name, record in MODALITIES.items()})

    @property
    def defaults(self) -> dict[str, Any]:
        """What a call takes unless it says otherwise."""
        return {name: self.config[name] for name in DEFAULTS}

    # ------------------------------------------------------------------ generating

    @torch.no_grad()
    @one_at_a_time_if_needed
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
        modality_scale: float | Mapping[str, float] | None = None,
        modality_interval: Sequence[float] | Mapping[str, Sequence[float]] | None = None,
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
        plan: ExchangePlan | None = None,
        extras: Sequence[str] | None = None,
        **others: Any,
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
            negative_prompt: text to steer away from, one for all prompts or one for each. It replaces the unconditional
                prompt, and has no effect where the guidance scale is 1.
            num_inference_steps: denoising steps, for all outputs or such as ``{"image": 30, "text": 10}``; the model's own
                number (``defaults``) where not given.
            guidance_scale: classifier-free guidance scale, for all outputs or for each; 1 turns it off and halves the work.
            guidance_interval: which part of an output's steps is guided, ``(start, end)`` of 1 from noise to result, for
                all or for each; the others have scale 1.
            modality_scale: how far guidance leads towards the other outputs of a joint run, for all or for each. A model
                without a value of its own lets every pass see them, as in the published code.
            modality_interval: which part of the steps that is.
            num_outputs_per_prompt: results of every prompt, each from noise of its own.
            generator: where all randomness comes from. From a list, each result (ordered by prompt) takes its own
                generator; a single one gives each result in turn a seed of its own. Noise does not depend on the place
                in the batch, on the device, or on which other outputs are made.
            latents: initial noise instead of drawn noise, ``{output: [batch, ...]}`` of unit variance.
            height, width: of images and clips, in pixels; the model's own size by default.
            num_frames: of clips; the model's own number by default.
            seconds: of sounds; the model's own length by default, and the nearest it can make to any other.
            text_decoding: ``"greedy"``: the likeliest word at each step; ``"sample"``: words drawn with the generator.
            output_type: ``"pil"`` for media objects (pictures as ``PIL.Image.Image``); ``"np"`` for float32 arrays: images
                [B, H, W, 3] and video [B, F, H, W, 3] in [0, 1], audio [B, T]; ``"latent"`` for latents.
            return_dict: ``False`` returns the tuple ``(text, image, video, audio)``.
            callback_on_step_end: called after each step as ``callback(pipeline, step, timesteps, tensors)``, where
                ``tensors["latents"]`` is ``{output: latents}`` of the outputs that are made or being made, and
                ``timesteps`` is ``{output: timestep}`` of those that stepped. A dictionary it returns, such as
                ``{"latents": {output: latents}}``, replaces them. Setting ``pipeline._interrupt = True`` in it leaves out
                the remaining steps.
            callback_on_step_end_tensor_inputs: which tensors the callback gets; only ``"latents"`` is offered.
            plan: in which order outputs are denoised, ``Together()`` unless an extra of the model says otherwise.
            extras: names of the extras to use of those of the model, or of any others with their usual settings; ``()``:
                none, the paper alone. All of the model by default.
            **others: inputs of modalities that were added to ``MODALITIES``, and arguments of extras (``Extra.arguments``).

        Returns:
            The results per modality, ``None`` where not asked for.

        Raises:
            ArgumentError: if an argument is unknown, contradictory or out of range, or this model lacks a part that an
                input or output needs.
        """
        # Errors at the door
        given, options = sort_arguments({"text": text, "image": image, "video": video, "audio": audio, **others})
        asked = CallArguments.check(
            given,
            self.defaults,
            outputs=outputs,
            weights=weights,
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=guidance_interval,
            modality_scale=modality_scale,
            modality_interval=modality_interval,
            num_outputs_per_prompt=num_outputs_per_prompt,
            generator=generator,
            latents=latents,
            height=height,
            width=width,
            num_frames=num_frames,
            seconds=seconds,
            extras=extras,
            text_decoding=text_decoding,
            output_type=output_type,
            return_dict=return_dict,
            callback_on_step_end=callback_on_step_end,
            callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
        )
        wanted, inputs, rooms = asked.outputs, asked.inputs, self.rooms
        rooms.check_parts(inputs, wanted, bool(asked.negative_prompt))
        size = {name: getattr(asked, name) for name in ("height", "width", "num_frames", "seconds")}
        num_samples = asked.batch_size * asked.num_outputs_per_prompt
        shapes = {modality: rooms.latent_shape(modality, num_samples, size) for modality in wanted}
        noise = collect_latents(asked.latents, shapes)
        # A plan may make more than was asked for
        settings = asked.including(self.denoisers, self.defaults)
        seeds = sample_seeds(generator, num_samples)
        call = rooms.call(wanted, inputs, asked.extras, options, seeds)
        for extra in call.extras.values():
            extra.check(call)
        clock: dict[str, float] = {}
        self._interrupt = False

        # Encode every input into the shared space, and mix (paper §3.2)
        with timed(clock, "encode"):
            condition = rooms.encode_inputs(call, asked, asked.num_outputs_per_prompt)
            unconditional = rooms.encode_unconditional(call, asked).repeated(asked.num_outputs_per_prompt)

        if not any(extra.reads for extra in call.extras.values()):
            self.parts.done_with(*part_names("prompt_encoder"))

        # Denoise all outputs together, each seeing the others (paper §3.4)
        plan = reduce(lambda inner, extra: extra.plan(inner, call), call.extras.values(), plan or Together())
        report = StepReport(self, callback_on_step_end, tuple(callback_on_step_end_tensor_inputs))
        request = Request(
            call=call,
            outputs=tuple(wanted),
            condition=condition,
            unconditional=unconditional,
            noise=Noise(seeds, lambda m: rooms.latent_shape(m, num_samples, size), rooms.frame_share, noise),
            num_inference_steps=settings.num_inference_steps,
            guidance=guidance_of(settings),
            generator=streams(seeds, "steps"),
            callback=report,
            interrupted=lambda: self._interrupt,
        )
        with timed(clock, "denoise"):
            sampler = self._sampler(plan.made(request), call)
            with self.progress_bar(total=plan.num_ticks(sampler, request)) as report.bar:
                denoised = plan.run(sampler, request)
        networks = [*part_names("prompt_encoder", "denoiser", "temporal", "alignment"), *EVIDENCE_PARTS]
        self.parts.done_with(*networks, *EXTRA_ADAPTERS, *EXTRA_COMPONENTS)

        # Decode into what people see, hear and read
        if asked.output_type == "latent":
            result = AnyToAnyOutput(denoised)
        else:
            decode = "decode_arrays" if asked.output_type == "np" else "decode"
            words = {"generator": streams(seeds, "words")} if asked.text_decoding == "sample" else {}
            with timed(clock, "decode"):
                made = {
                    m: getattr(rooms.codec(m, call, condition), decode)(x, **(words if m == Modality.TEXT else {}))
                    for m, x in denoised.items()
                }
            result = AnyToAnyOutput(made) if asked.output_type == "np" else AnyToAnyOutput.from_media(made)
            self.parts.done_with(*part_names("codec_parts"))
        result.seconds, result.model = clock, self.config.get("_name_or_path")
        made_of = [modality for modality in MODALITIES if modality in plan.made(request)]
        result.num_inference_steps = {modality: settings.num_inference_steps[modality] for modality in made_of}
        result.guidance_scale = {modality: settings.guidance_scale[modality] for modality in made_of}
        self.maybe_free_model_hooks()
        return result if return_dict else result.to_tuple()

    # ------------------------------------------------------------------ encode and mix

    @torch.no_grad()
    def encode_prompt(
        self,
        text: Any = None,
        image: Any = None,
        video: Any = None,
        audio: Any = None,
        *,
        weights: Mapping[str, float | Sequence[float]] | None = None,
        outputs: str | Sequence[str] = "all",
        extras: Sequence[str] | None = None,
        **others: Any,
    ) -> Condition:
        """Encode inputs into the shared space and mix them, as a call does.

        Args:
            text, image, video, audio, weights, extras, **others: as in a call.
            outputs: what is to be made of the prompt; some extras look at it.

        Returns:
            Tokens [batch, N, D]. The first is the aligned embedding.

        Raises:
            ArgumentError: if an argument is wrong or this model cannot read an input.
        """
        given, options = sort_arguments({"text": text, "image": image, "video": video, "audio": audio, **others})
        asked = CallArguments.check(given, self.defaults, outputs=outputs, weights=weights, extras=extras)
        rooms = self.rooms
        rooms.check_parts(asked.inputs, (), negative=False)
        return rooms.encode_inputs(rooms.call(asked.outputs, asked.inputs, asked.extras, options), asked)

    # ------------------------------------------------------------------ denoise and decode

    def _sampler(self, made: Sequence[str], call: Call) -> Any:
        """What denoises ``made``: the core, and the extras around it."""
        denoisers = self.rooms.denoisers(made, call)
        place = {"device": self._execution_device, "dtype": self.parts.get(MODALITIES[made[0]].denoiser).dtype}
        side_by_side = self.parts.placement.shared  # offloaded weights come for one call at a time
        sampler = Sampler(denoisers.__getitem__, self.scheduler, self.config.exchange, place, side_by_side)
        return reduce(lambda inner, extra: extra.sampler(inner, call), call.extras.values(), sampler)

    def num_ticks(
        self,
        outputs: str | Sequence[str],
        inputs: Sequence[str] = (),
        num_inference_steps: int | Mapping[str, int] | None = None,
        extras: Sequence[str] | None = None,
    ) -> int:
        """How often ``callback_on_step_end`` is called when ``outputs`` are made from inputs of these modalities."""
        asked = CallArguments.check({}, self.defaults, outputs=outputs, num_inference_steps=num_inference_steps)
        wanted, settings = asked.outputs, asked.including(self.denoisers, self.defaults)
        call = self.rooms.call(wanted, inputs, extras)
        sampler: Any = Sampler(lambda _: None, self.scheduler, self.config.exchange, {})
        sampler = reduce(lambda inner, extra: extra.sampler(inner, call), call.extras.values(), sampler)
        plan: Any = reduce(lambda inner, extra: extra.plan(inner, call), call.extras.values(), Together())
        nothing, noise = Condition.zeros(1, 1, like=torch.zeros(1)), Noise([], lambda _: (), lambda _: 0.0)
        steps, guidance = settings.num_inference_steps, guidance_of(settings)
        return plan.num_ticks(sampler, Request(call, tuple(wanted), nothing, nothing, noise, steps, guidance))
