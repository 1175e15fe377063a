"""Any inputs → encode → mix → denoise together → decode → any outputs (paper Figure 2)."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import reduce
from typing import Any, ClassVar

import torch

from . import arguments
from .errors import ArgumentError
from .extras import EXTRAS, Extra, PromptInput, build
from .loading import LazyPipeline, PartsByModality
from .modality import MODALITIES, Modality, parse_modalities
from .output import AnyToAnyOutput, timed
from .prompts import Condition, mix
from .sampling import ExchangePlan, Noise, Request, Sampler, Together
from .sampling.noise import sample_seeds, streams
from .sampling.request import Call
from .sampling.trajectory import Generators
from .settings import DEFAULTS, extras_in_use, sort_arguments, steps_and_guidance

PROMPT_ENCODERS = [record.prompt_encoder for record in MODALITIES.values()]
AUTOENCODERS = list(dict.fromkeys(part for record in MODALITIES.values() for part in record.codec_parts.values()))
DENOISERS = list(dict.fromkeys(record.denoiser for record in MODALITIES.values()))
EXTRA_COMPONENTS = list(
    dict.fromkeys(part for extra in EXTRAS.values() for part in extra.needs if part not in PROMPT_ENCODERS)
)


class AnyToAnyPipeline(LazyPipeline):
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

    model_cpu_offload_seq = "->".join([*PROMPT_ENCODERS, *EXTRA_COMPONENTS, *AUTOENCODERS])
    # The denoisers take turns at every step, so they stay on the device together.
    _exclude_from_cpu_offload = DENOISERS
    # Small beside what they compute, and some read weights without calling the layers that hold them.
    _whole_with_sequential_offload = "->".join([*AUTOENCODERS, *EXTRA_COMPONENTS])
    _optional_components: ClassVar = [*PROMPT_ENCODERS, *EXTRA_COMPONENTS, *AUTOENCODERS, *DENOISERS, "scheduler"]
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
        for name in components:
            if name not in names:
                raise ArgumentError(f"{name}: is no component of this pipeline; known are {', '.join(sorted(names))}")
        self.register_modules(**dict.fromkeys(names) | components | {"scheduler": scheduler})
        settings = {name: dict(each) for name, each in dict(extras or {}).items()}
        self.register_to_config(
            exchange=arguments.one_of("exchange", exchange, ("others", "self")),
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
        records = MODALITIES.values()
        named = {
            part
            for record in records
            for part in (record.prompt_encoder, record.denoiser, *record.codec_parts.values())
        }
        return {*named, *EXTRA_COMPONENTS, "scheduler"}

    @classmethod
    def _get_signature_keys(cls, obj: Any) -> tuple[set[str], set[str]]:
        """Names of components and of settings, which diffusers reads off the signature."""
        return cls.component_names(), {"exchange", "extras", *DEFAULTS}

    @property
    def extras(self) -> dict[str, Extra]:
        """The extras that this model is used with, by name."""
        return build(self.config.extras)

    @property
    def prompt_encoders(self) -> Mapping[str, Any]:
        """What this model can read: input modality → prompt encoder."""
        return PartsByModality(self, {name: record.prompt_encoder for name, record in MODALITIES.items()})

    @property
    def denoisers(self) -> Mapping[str, Any]:
        """What this model can make: output modality → denoiser. Image and video share one."""
        return PartsByModality(self, {name: record.denoiser for name, record in MODALITIES.items()})

    @property
    def defaults(self) -> dict[str, Any]:
        """What a call takes unless it says otherwise."""
        return {name: self.config[name] for name in DEFAULTS}

    # ------------------------------------------------------------------ generating

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
            modality_scale: how far guidance leads towards the other outputs of a joint run, for all or for each.
                None: every pass sees them, as in the published code.
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
            **others: inputs of modalities that were added to ``MODALITIES``, and arguments of extras: ``num_candidates``
                (how many of each output are made, of which the one is kept that is read nearest to the prompt).

        Returns:
            The results per modality, ``None`` where not asked for.

        Raises:
            ArgumentError: if an argument is unknown, contradictory or out of range, or this model lacks a part that an
                input or output needs.
        """
        # Errors at the door
        wanted = parse_modalities(outputs)
        given, options = sort_arguments({"text": text, "image": image, "video": video, "audio": audio, **others})
        inputs, batch_size = arguments.collect_inputs(given)
        shares = arguments.collect_weights(weights, inputs)
        negatives = arguments.collect_negatives(negative_prompt, batch_size)
        said = {
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "guidance_interval": guidance_interval,
            "modality_scale": modality_scale,
            "modality_interval": modality_interval,
        }
        steps, guidance = steps_and_guidance(self.config, self.denoisers, wanted, said)
        arguments.positive_integer("num_outputs_per_prompt", num_outputs_per_prompt)
        arguments.one_of("text_decoding", text_decoding, ("greedy", "sample"))
        arguments.one_of("output_type", output_type, ("pil", "np", "latent"))
        for name in callback_on_step_end_tensor_inputs:
            arguments.one_of("callback_on_step_end_tensor_inputs", name, self._callback_tensor_inputs)
        self._check_parts(inputs, wanted, bool(negatives))
        size = {"height": height, "width": width, "num_frames": num_frames, "seconds": seconds}
        num_samples = batch_size * num_outputs_per_prompt
        shapes = {modality: self._latent_shape(modality, num_samples, size) for modality in wanted}
        noise = arguments.collect_latents(latents, shapes)
        seeds = sample_seeds(generator, num_samples)
        call = self._call(wanted, inputs, extras, options, seeds)
        for extra in call.extras.values():
            extra.check(call)
        clock: dict[str, float] = {}
        self._interrupt = False

        # Encode every input into the shared space, and mix (paper §3.2)
        with timed(clock, "encode"):
            condition = self._encode_inputs(call, inputs, shares, batch_size, num_outputs_per_prompt)
            unconditional = self._encode_unconditional(call, inputs, shares, batch_size, negatives)
            unconditional = unconditional.repeated(num_outputs_per_prompt)

        # Denoise all outputs together, each seeing the others (paper §3.4)
        plan = reduce(lambda inner, extra: extra.plan(inner, call), call.extras.values(), plan or Together())
        report = _StepReport(self, callback_on_step_end, tuple(callback_on_step_end_tensor_inputs))
        request = Request(
            call=call,
            outputs=tuple(wanted),
            condition=condition,
            unconditional=unconditional,
            noise=Noise(seeds, lambda m: self._latent_shape(m, num_samples, size), self._frame_share, noise),
            num_inference_steps=steps,
            guidance=guidance,
            generator=streams(seeds, "steps"),
            callback=report,
            interrupted=lambda: self._interrupt,
        )
        with timed(clock, "denoise"):
            sampler = self._sampler(plan.made(request), call)
            with self.progress_bar(total=plan.num_ticks(sampler, request)) as report.bar:
                denoised = plan.run(sampler, request)
        self._done_with(*DENOISERS, *PROMPT_ENCODERS, *(part for extra in call.extras.values() for part in extra.needs))

        # Decode into what people see, hear and read
        if output_type == "latent":
            result = AnyToAnyOutput(denoised)
        else:
            decode = "decode_arrays" if output_type == "np" else "decode"
            words = {"generator": streams(seeds, "words")} if text_decoding == "sample" else {}
            with timed(clock, "decode"):
                made = {
                    m: getattr(self._codec(m, call, condition), decode)(x, **(words if m == Modality.TEXT else {}))
                    for m, x in denoised.items()
                }
            result = AnyToAnyOutput(made) if output_type == "np" else AnyToAnyOutput.from_media(made)
            self._done_with(*AUTOENCODERS)
        result.seconds = clock
        result.num_inference_steps = {modality: steps[modality] for modality in plan.made(request)}
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
        inputs, batch_size = arguments.collect_inputs(given)
        shares = arguments.collect_weights(weights, inputs)
        self._check_parts(inputs, (), negative=False)
        call = self._call(parse_modalities(outputs), inputs, extras, options)
        return self._encode_inputs(call, inputs, shares, batch_size)

    def _encode_inputs(
        self, call: Call, inputs: arguments.Inputs, weights: Sequence[float], batch_size: int, repeats: int = 1
    ) -> Condition:
        """Encode every input once and mix them, tokens [batch_size * repeats, N, D]; without any, the unconditional prompt."""
        listed = [(modality, items) for modality, conditions in inputs.items() for items in conditions]
        encoded = [self._encode(m, items, weight, batch_size) for (m, items), weight in zip(listed, weights)]
        if encoded:
            encoded = reduce(lambda each, extra: extra.inputs(each, call), call.extras.values(), encoded)
            mixed = self._mix([each.condition for each in encoded], weights)
        else:
            mixed = self._nothing(batch_size)
        mixed = mixed.repeated(repeats)
        return reduce(lambda prompt, extra: extra.prompt(prompt, call), call.extras.values(), mixed)

    def _encode_unconditional(
        self,
        call: Call,
        inputs: arguments.Inputs,
        weights: Sequence[float],
        batch_size: int,
        negatives: list[str] | None,
    ) -> Condition:
        """What guidance leads away from, tokens [batch_size, N, D]: the negative texts, or nothing in every modality.

        Nothing is mixed with the weights of the inputs, as in the reference (SPEC §1.2).
        """
        if negatives:
            steered = call.read(Modality.TEXT, negatives).spread(batch_size).to(self._execution_device)
            return reduce(lambda prompt, extra: extra.prompt(prompt, call, True), call.extras.values(), steered)
        modalities = [modality for modality in inputs for _ in inputs[modality]]
        if not modalities:
            return self._nothing(batch_size)
        return self._mix([self.prompt_encoders[m].unconditional(batch_size) for m in modalities], weights)

    def _nothing(self, batch_size: int) -> Condition:
        """The prompt without any input."""
        return next(iter(self.prompt_encoders.values())).unconditional(batch_size).to(self._execution_device)

    def _encode(self, modality: str, items: Sequence[Any], weight: float, batch_size: int) -> PromptInput:
        condition, features = self.prompt_encoders[modality].read(items)
        if features is not None and len(features) != batch_size:
            features = features.expand(batch_size, -1)
        return PromptInput(modality, condition.spread(batch_size), features, weight)

    def _mix(self, conditions: Sequence[Condition], weights: Sequence[float]) -> Condition:
        """Mix on the device that denoises; with offloading, each encoder may have answered from another."""
        return mix([condition.to(self._execution_device) for condition in conditions], weights)

    # ------------------------------------------------------------------ denoise and decode

    def _sampler(self, made: Sequence[str], call: Call) -> Any:
        """What denoises ``made``: the core, and the extras around it."""
        plain = self._denoisers(made)
        place = {"device": self._execution_device, "dtype": plain[made[0]].dtype}
        denoisers = {
            m: reduce(lambda inner, extra, m=m: extra.denoiser(inner, m, call), call.extras.values(), denoiser)
            for m, denoiser in plain.items()
        }
        sampler = Sampler(denoisers.__getitem__, self.scheduler, self.config.exchange, place)
        return reduce(lambda inner, extra: extra.sampler(inner, call), call.extras.values(), sampler)

    def _denoisers(self, made: Sequence[str]) -> dict[str, Any]:
        """A denoiser for each modality that is made, with the adapters that it needs for that."""
        features = {"alignment": len(made) > 1, "temporal": Modality.VIDEO in made}
        return {m: self.held(MODALITIES[m].denoiser, **features) for m in made}

    def _codec(self, modality: str, call: Call | None = None, condition: Condition | None = None) -> Any:
        """Latents ↔ media of one modality, with the extras of a call."""
        codec = MODALITIES[modality].build_codec(lambda name: getattr(self, name))
        extras = () if call is None else call.extras.values()
        return reduce(lambda inner, extra: extra.codec(inner, modality, condition, call), extras, codec)

    def num_ticks(
        self,
        outputs: str | Sequence[str],
        inputs: Sequence[str] = (),
        num_inference_steps: int | Mapping[str, int] | None = None,
        extras: Sequence[str] | None = None,
    ) -> int:
        """How often ``callback_on_step_end`` is called when ``outputs`` are made from inputs of these modalities."""
        wanted = parse_modalities(outputs)
        said = {"num_inference_steps": num_inference_steps}
        steps, guidance = steps_and_guidance(self.config, self.denoisers, wanted, said)
        call = self._call(wanted, inputs, extras)
        sampler: Any = Sampler(lambda _: None, self.scheduler, self.config.exchange, {})
        sampler = reduce(lambda inner, extra: extra.sampler(inner, call), call.extras.values(), sampler)
        plan: Any = reduce(lambda inner, extra: extra.plan(inner, call), call.extras.values(), Together())
        nothing, noise = Condition.zeros(1, 1, like=torch.zeros(1)), Noise([], lambda _: (), lambda _: 0.0)
        return plan.num_ticks(sampler, Request(call, tuple(wanted), nothing, nothing, noise, steps, guidance))

    # ------------------------------------------------------------------ what a call needs

    def _call(
        self,
        outputs: Sequence[str],
        inputs: Iterable[str],
        extras: Sequence[str] | None,
        options: Mapping[str, Any] | None = None,
        seeds: Sequence[int] = (),
    ) -> Call:
        def read(modality: str, items: Sequence[Any]) -> Condition:
            encoded = [self._encode(modality, items, 1.0, len(items))]
            return reduce(lambda each, extra: extra.inputs(each, call), call.extras.values(), encoded)[0].condition

        options = dict(options or {})
        components = [name for name in self.component_names() if self.has(name)]
        call = Call(
            outputs=tuple(outputs),
            inputs=frozenset(inputs),
            seeds=seeds,
            extras=extras_in_use(self.config.extras, extras, options, components),
            options=options,
            read=read,
            decode=lambda modality, latents: self._codec(modality).decode(latents),
            part=lambda name: getattr(self, name),
            has=self.has,
        )
        return call

    def _latent_shape(self, modality: str, num_samples: int, size: Mapping[str, Any]) -> tuple[int, ...]:
        """Shape of the latents to make, from the configs alone, so that nothing is loaded for a bad size."""
        shape = MODALITIES[modality].build_codec(self.skeleton).latent_shape(num_samples, **size)
        config = self.part_config(MODALITIES[modality].denoiser)
        if modality == Modality.VIDEO and config.get("temporal") and shape[2] > config["max_frames"]:
            raise ArgumentError(
                f"num_frames: {shape[2]} frames asked, this model knows positions for {config['max_frames']}"
            )
        return shape

    def _frame_share(self, modality: str) -> float:
        """The share of the noise that all frames of a clip have in common."""
        return self.part_config(MODALITIES[modality].denoiser).get("shared_frame_noise", 0.0)

    def _check_parts(self, inputs: arguments.Inputs, outputs: Sequence[str], negative: bool) -> None:
        """Refuse what this model lacks a part for."""
        for name, purpose in arguments.needed_parts(inputs, outputs, negative).items():
            if not self.has(name):
                raise ArgumentError(f"this model has no {name}, which it needs {purpose}")
        if not any(self.has(record.prompt_encoder) for record in MODALITIES.values()):
            raise ArgumentError("this model has no prompt encoder; it needs one even without any input")


class _StepReport:
    """What happens after each tick: the progress bar moves, and the caller's callback sees and may replace latents."""

    def __init__(self, pipeline: AnyToAnyPipeline, callback: Callable[..., Any] | None, tensor_inputs: Sequence[str]):
        self.pipeline, self.callback, self.tensor_inputs = pipeline, callback, tensor_inputs
        self.bar: Any = None
        self.tick = 0
        self.latents: dict[str, torch.Tensor] = {}

    def __call__(
        self, timesteps: dict[str, torch.Tensor], latents: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor] | None:
        self.bar.update()
        self.latents |= latents
        self.tick += 1
        if self.callback is None:
            return None
        offered = {"latents": dict(self.latents)}
        tensors = {name: offered[name] for name in self.tensor_inputs}
        changed = (self.callback(self.pipeline, self.tick - 1, timesteps, tensors) or {}).get("latents") or {}
        return {modality: replacement for modality, replacement in changed.items() if modality in latents}
