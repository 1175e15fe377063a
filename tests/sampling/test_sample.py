"""The joint sampler: schedulers, guidance, different step counts, randomness."""

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
)

from opencodi.denoisers import joint_forward
from opencodi.errors import ArgumentError
from opencodi.modality import Modality
from opencodi.prompts import Condition
from opencodi.sampling import Guidance, interleave, sample
from tests.denoisers.tiny_nets import joint_nets, noise, prompt

COSINE = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction", "timestep_spacing": "trailing"}
SCHEDULERS = {
    "ddim": DDIMScheduler(**COSINE, clip_sample=False, set_alpha_to_one=True, steps_offset=0),
    "dpm-solver++": DPMSolverMultistepScheduler(**COSINE),
    "unipc": UniPCMultistepScheduler(**COSINE),
    "euler": EulerDiscreteScheduler(beta_schedule="scaled_linear", prediction_type="v_prediction"),
    "flow matching": FlowMatchEulerDiscreteScheduler(),
}
TEXT, IMAGE, VIDEO, AUDIO = Modality
PAIR = (IMAGE, AUDIO)


def condition(seed: int = 9, batch_size: int = 2) -> Condition:
    return Condition(prompt(batch_size, seed=seed), torch.ones(batch_size, 1, dtype=torch.bool))


def run(latents, steps=3, scale=2.0, scheduler=SCHEDULERS["ddim"], prompts=None, guided=None, **options):
    """``scale``: the guidance scale; ``guided``: further settings of ``Guidance``."""
    each = dict.fromkeys
    positive, negative = prompts or (condition(), condition(seed=8))
    scales = scale if isinstance(scale, dict) else each(latents, scale)
    return sample(
        joint_nets(),
        scheduler if isinstance(scheduler, dict) else each(latents, scheduler),
        latents,
        positive,
        negative,
        num_inference_steps=steps if isinstance(steps, dict) else each(latents, steps),
        guidance={m: Guidance(scale, **(guided or {})) for m, scale in scales.items()},
        **options,
    )


@pytest.mark.parametrize("name", list(SCHEDULERS))
@torch.no_grad()
def test_any_scheduler_steps_as_in_a_loop_written_by_hand(name):
    scheduler = type(SCHEDULERS[name]).from_config(SCHEDULERS[name].config)
    scheduler.set_timesteps(3)
    net, x = joint_nets()[IMAGE], noise(IMAGE)[IMAGE] * getattr(scheduler, "init_noise_sigma", 1)
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        negative, positive = (net(scaled, t.expand(2), prompt(seed=seed)) for seed in (8, 9))
        x = scheduler.step(negative + 2.0 * (positive - negative), t, x).prev_sample
    torch.testing.assert_close(run(noise(IMAGE), scheduler=SCHEDULERS[name])[IMAGE], x, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_only_steps_inside_the_interval_are_guided():
    scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
    scheduler.set_timesteps(4)
    net, x = joint_nets()[IMAGE], noise(IMAGE)[IMAGE]
    for step, t in enumerate(scheduler.timesteps):
        negative, positive = (net(x, t.expand(2), prompt(seed=seed)) for seed in (8, 9))
        guided = negative + 2.0 * (positive - negative) if step in (1, 2) else positive
        x = scheduler.step(guided, t, x).prev_sample
    found = run(noise(IMAGE), steps=4, guided={"guidance_interval": (0.25, 0.75)})[IMAGE]
    torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(run(noise(IMAGE), steps=4)[IMAGE], found, atol=1e-3)


@torch.no_grad()
def test_a_joint_run_is_joint_forward_and_a_step_again_and_again():
    scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
    scheduler.set_timesteps(3)
    latents = noise(*PAIR)
    for t in scheduler.timesteps:
        predictions = joint_forward(joint_nets(), latents, dict.fromkeys(PAIR, t.expand(2)), prompt())
        latents = {m: scheduler.step(predictions[m], t, latents[m]).prev_sample for m in PAIR}
    torch.testing.assert_close(run(noise(*PAIR), scale=1.0), latents, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_guided_joint_run_is_the_same_by_hand_with_nothing_kept():
    scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
    scheduler.set_timesteps(3)
    latents, nets = noise(*PAIR), joint_nets()
    for t in scheduler.timesteps:
        negative, positive = (
            joint_forward(nets, latents, dict.fromkeys(PAIR, t.expand(2)), prompt(seed=seed)) for seed in (8, 9)
        )
        guided = {m: negative[m] + 2.0 * (positive[m] - negative[m]) for m in PAIR}
        latents = {m: scheduler.step(guided[m], t, latents[m]).prev_sample for m in PAIR}
    torch.testing.assert_close(run(noise(*PAIR)), latents, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_guidance_towards_the_others_leads_away_from_what_is_made_alone():
    scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
    scheduler.set_timesteps(3)
    latents, nets = noise(*PAIR, VIDEO), joint_nets()
    for t in scheduler.timesteps:
        times = dict.fromkeys(latents, t.expand(2))
        together = joint_forward(nets, latents, times, prompt(seed=9))
        alone = {m: nets[m](x, times[m], prompt(seed=8)) for m, x in latents.items()}
        guided = {m: alone[m] + 2.0 * (together[m] - alone[m]) for m in latents}
        latents = {m: scheduler.step(guided[m], t, latents[m]).prev_sample for m in latents}
    found = run(noise(*PAIR, VIDEO), guided={"modality_scale": 2.0})
    torch.testing.assert_close(found, latents, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_prompt_and_partners_are_guided_to_by_scales_of_their_own():
    scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
    scheduler.set_timesteps(3)
    latents, nets = noise(*PAIR), joint_nets()
    for t in scheduler.timesteps:
        times = dict.fromkeys(latents, t.expand(2))
        together = joint_forward(nets, latents, times, prompt(seed=9))
        nothing, prompted = (
            {m: nets[m](x, times[m], prompt(seed=seed)) for m, x in latents.items()} for seed in (8, 9)
        )
        guided = {m: nothing[m] + 3.0 * (prompted[m] - nothing[m]) + 1.5 * (together[m] - prompted[m]) for m in latents}
        latents = {m: scheduler.step(guided[m], t, latents[m]).prev_sample for m in latents}
    found = run(noise(*PAIR), scale=3.0, guided={"modality_scale": 1.5})
    torch.testing.assert_close(found, latents, atol=1e-4, rtol=1e-4)


def test_prompts_are_projected_once_and_environments_once_a_step():
    net, seen = joint_nets()[IMAGE], []
    handles = [
        module.register_forward_hook(lambda *_, name=name: seen.append(name))
        for name, module in net.named_modules()
        if name.endswith(".attn2.to_v")
    ]
    run(noise(*PAIR), steps=3)
    for handle in handles:
        handle.remove()
    times = {name: seen.count(name) for name in seen}
    assert {count for name, count in times.items() if ".attention." in name} == {1}
    assert {count for name, count in times.items() if ".alignment." in name} == {3}


def test_prompts_of_several_tokens_count_by_their_masks():
    tokens, mask = prompt(num_tokens=3), torch.tensor([[True, True, False]] * 2)
    short, one = Condition(tokens[:, :2], mask[:, :2]), condition(seed=8)
    padded = run(noise(IMAGE), prompts=(Condition(tokens, mask), one))
    # The empty prompt has one token and is padded to the length of the other.
    torch.testing.assert_close(padded, run(noise(IMAGE), prompts=(short, one)), atol=1e-4, rtol=1e-4)


def test_joint_results_depend_on_the_others_noise_unless_each_sees_itself():
    latents = noise(*PAIR)
    altered = {**latents, AUDIO: noise(AUDIO, seed=1)[AUDIO]}
    assert (run(latents)[IMAGE] - run(altered)[IMAGE]).abs().max() > 1e-3
    assert torch.equal(run(latents, exchange="self")[IMAGE], run(altered, exchange="self")[IMAGE])


def test_one_prompt_in_a_batch_of_four_gives_what_it_gives_alone():
    latents = noise(*PAIR, batch_size=4)
    four = [condition(seed, 4) for seed in (9, 8)]
    one = [Condition(c.tokens[2:3], c.mask[2:3]) for c in four]
    together = run(latents, prompts=four)
    alone = run({m: x[2:3] for m, x in latents.items()}, prompts=one)
    for modality in PAIR:
        torch.testing.assert_close(together[modality][2:3], alone[modality], atol=1e-4, rtol=0)


def test_guidance_one_needs_no_unconditional_and_is_the_plain_prediction():
    alone = run(noise(*PAIR), scale=1.0, prompts=(condition(), None))
    torch.testing.assert_close(alone, run(noise(*PAIR), scale=1.0 + 1e-7), atol=1e-4, rtol=1e-4)


def test_guidance_is_per_modality():
    guided, plain = run(noise(IMAGE, VIDEO), scale={IMAGE: 3.0, VIDEO: 1.0}, exchange="self"), {}
    for modality, scale in ((IMAGE, 3.0), (VIDEO, 1.0)):
        plain |= {modality: run(noise(IMAGE, VIDEO), scale=scale, exchange="self")[modality]}
    torch.testing.assert_close(guided, plain)


def test_a_short_schedule_is_spread_over_a_long_one():
    assert interleave({IMAGE: 4, AUDIO: 2}) == [[IMAGE, AUDIO], [IMAGE], [IMAGE, AUDIO], [IMAGE]]
    uneven = interleave({IMAGE: 7, AUDIO: 3})
    assert [i for i, due in enumerate(uneven) if AUDIO in due] == [0, 3, 5]
    assert sum(IMAGE in due for due in uneven) == 7


@torch.no_grad()
def test_what_is_given_is_seen_finished_and_stays():
    scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
    scheduler.set_timesteps(3)
    nets, given = joint_nets(), noise(AUDIO, seed=3)
    x = noise(IMAGE)[IMAGE]
    for t in scheduler.timesteps:
        times = {IMAGE: t.expand(2), AUDIO: torch.zeros(2, dtype=torch.long)}
        prediction = joint_forward(nets, {IMAGE: x, **given}, times, prompt())[IMAGE]
        x = scheduler.step(prediction, t, x).prev_sample
    found = run(noise(IMAGE), scale=1.0, given=given)
    assert list(found) == [IMAGE]
    torch.testing.assert_close(found[IMAGE], x, atol=1e-4, rtol=1e-4)
    assert (found[IMAGE] - run(noise(IMAGE), scale=1.0)[IMAGE]).abs().max() > 1e-3


def test_an_interrupted_run_leaves_out_the_remaining_steps():
    ticks = []
    run(noise(IMAGE), steps=5, callback=lambda *_: ticks.append(1), interrupted=lambda: len(ticks) == 2)
    assert len(ticks) == 2


def test_different_step_counts_each_walk_their_own_schedule():
    walked = {m: [] for m in PAIR}

    def note(timesteps, latents):
        for modality, t in timesteps.items():
            walked[modality].append(int(t))

    steps = {IMAGE: 5, AUDIO: 2}
    joint = run(noise(*PAIR), steps=steps, exchange="self", callback=note)
    for modality in PAIR:
        scheduler = DDIMScheduler.from_config(SCHEDULERS["ddim"].config)
        scheduler.set_timesteps(steps[modality])
        assert walked[modality] == scheduler.timesteps.tolist()
    # What an output sees of itself does not depend on how long the other one's schedule is.
    longer = run(noise(*PAIR), steps={IMAGE: 5, AUDIO: 4}, exchange="self")
    assert torch.equal(joint[IMAGE], longer[IMAGE])
    assert (joint[AUDIO] - longer[AUDIO]).abs().max() > 1e-3


def test_modalities_may_use_different_schedulers():
    mixed = {IMAGE: SCHEDULERS["flow matching"], AUDIO: SCHEDULERS["unipc"]}
    out = run(noise(*PAIR), scheduler=mixed)
    assert all(torch.isfinite(x).all() for x in out.values())
    assert (out[IMAGE] - run(noise(*PAIR))[IMAGE]).abs().max() > 1e-3


def test_noise_of_a_stochastic_scheduler_comes_from_the_generator_only():
    def draw(seed):
        return run(
            noise(*PAIR), scheduler=DDPMScheduler(clip_sample=False), generator=torch.Generator().manual_seed(seed)
        )

    torch.manual_seed(1)
    first = draw(0)
    torch.manual_seed(2)
    assert all(torch.equal(x, y) for x, y in zip(first.values(), draw(0).values()))
    assert (first[IMAGE] - draw(5)[IMAGE]).abs().max() > 1e-3


def test_what_a_callback_returns_replaces_latents():
    ticks = []

    def zero_last(timesteps, latents):
        ticks.append(timesteps)
        return {IMAGE: torch.zeros_like(latents[IMAGE])} if len(ticks) == 3 else None

    out = run(noise(*PAIR), callback=zero_last)
    assert not out[IMAGE].any() and out[AUDIO].any()


def test_nothing_that_was_passed_is_changed():
    latents, scheduler = noise(*PAIR), DPMSolverMultistepScheduler(**COSINE)
    before = {m: x.clone() for m, x in latents.items()}
    run(latents, scheduler=scheduler)
    assert all(torch.equal(latents[m], before[m]) for m in PAIR)
    assert scheduler.num_inference_steps is None


def test_guidance_without_an_unconditional_prompt_is_refused():
    with pytest.raises(ArgumentError, match="unconditional"):
        run(noise(IMAGE), prompts=(condition(), None))


def test_nothing_to_generate_is_refused():
    with pytest.raises(ArgumentError, match="latents"):
        run({})
