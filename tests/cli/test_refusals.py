"""What is refused before any work: one line that names the option, the value and the limit, and nothing is written."""

import resource
from pathlib import Path

import pytest

MANY = "18446744073709551615"  # 2**64 - 1, the largest seed
BAD_CALLS = [
    (["generate", "--to", "imge"], "--to: unknown modality 'imge'"),
    (["generate", "--to", "image", "--image", "MISSING.png"], "MISSING.png: there is no such file"),
    (["generate", "--to", "image", "--image", "{audio}"], "a.wav: is a WAV sound, give an image"),
    (["generate", "--to", "image", "--audio", "{empty}"], "has no bytes, save or fetch it again"),
    (["generate", "--to", "image", "--image", "{cut}"], "is truncated"),
    (["generate", "--to", "image", "--text", "a", "--weight", "txt=1"], "unknown modality 'txt'; did you mean 'text'"),
    (["generate", "--to", "image", "--text", "a", "--weight", "text"], "'text' is not of the form text=1"),
    (["generate", "--to", "image", "--text", "a", "--weight", "audio=1"], "not among the inputs"),
    (["generate", "--to", "image", "--text", "a", "--weight", "text=1e9"], "weights: text: 1000000000.0 is too large"),
    (["generate", "--to", "image", "--text", "a", "--weight", "text=nan"], "weights: text: must be a finite number"),
    (["generate", "--to", "image", "--text", "caf\udce9"], "--text: 'caf\\udce9' is not valid UTF-8 text"),
    (["generate", "--to", "image", "--negative", "caf\udce9"], "--negative: 'caf\\udce9' is not valid UTF-8 text"),
    (["generate", "--to", "image", "--text", "a" * 10_001], "--text: has 10,001 characters; give at most 10,000"),
    (["generate", "--to", "image", "--steps", "0"], "--steps: must be a whole number of at least 1 and at most 1,000, got 0"),
    (["generate", "--to", "image", "--steps", "1001"], "--steps: must be a whole number of at least 1 and at most 1,000"),
    (["generate", "--to", "image", "--steps", "many"], "'--steps'"),
    (["generate", "--to", "image", "--number", "1000000"], "--number: must be a whole number"),
    (["generate", "--to", "image", "--candidates", "0"], "--candidates: must be a whole number"),
    (["generate", "--to", "image", "--guidance", "1e20"], "--guidance: 1e+20 is too large; give at most 100"),
    (["generate", "--to", "image", "--guidance", "-1e20"], "--guidance: -1e+20 is too small; give at least -100"),
    (["generate", "--to", "image", "--guidance", "nan"], "--guidance: must be a finite number"),
    (["generate", "--to", "image", "--seed", "-1"], "--seed: -1 is out of range; give a number from 0 to " + MANY),
    (["generate", "--to", "image", "--seed", "18446744073709551616"], "--seed: 18446744073709551616 is out of range"),
    (["generate", "--to", "image", "--seed", MANY, "--number", "2"], "so that all 2 seeds fit"),
    (["generate", "--to", "image", "--device", "abacus"], "device: 'abacus' cannot be used"),
    (["generate", "--to", "image", "--device", "meta"], "device: 'meta' cannot be used"),
    (["generate", "--to", "image", "--device", "cuda:77"], "device: 'cuda:77' cannot be used"),
    (["generate", "--to", "image", "--dtype", "float8"], "'--dtype'"),
    (["generate", "--to", "image", "--colour", "red"], "--colour"),
    (["generate", "--to", "image", "--model", "nowhere"], "model 'nowhere' is neither installed nor a folder"),
    (["reconstruct", "{image}", "--as", "smell"], "--as: unknown modality 'smell'"),
    (["reconstruct", "{image}", "--as", "all"], "--as: name one modality"),
    (["reconstruct", "{image}", "--device", "meta"], "device: 'meta' cannot be used"),
    (["reconstruct", "letter.docx"], "letter.docx: the ending '.docx' is none of"),
    (["evaluate", "stickers", "--seed", "-1"], "--seed: -1 is out of range"),
    (["evaluate", "stickers", "--judges", "nowhere"], "--judges: nowhere is not a folder"),
    (["convert", "codi", "--checkpoints", "nowhere"], "--checkpoints: there is no folder nowhere"),
    (["convert", "stable-diffusion", "--checkpoint", "nowhere"], "--checkpoint: nowhere is not a folder"),
    (["train", "nothing.yaml"], "nothing.yaml: there is no such recipe"),
    (["train", "{text}", "--minutes", "inf"], "--minutes: must be a finite number"),
    (["data", "build", "stickers", "--cache", "{text}"], "--cache: {text} is not a folder that can be written to"),
    (["data", "build", "photos"], "there is no collection 'photos'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_CALLS, ids=[ascii(" ".join(call)[:70]) for call, _ in BAD_CALLS])
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_written(run, model, files, tmp_path, arguments, message):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "cut.png").write_bytes(Path(files["image"]).read_bytes()[:200])
    names = {**files, "empty": tmp_path / "empty.wav", "cut": tmp_path / "cut.png"}
    arguments = [argument.format(**names) for argument in arguments]
    if arguments[0] in ("generate", "reconstruct") and "--model" not in arguments:
        arguments += ["--model", model]
    code, out, err = run(*arguments, "--output", tmp_path / "out")
    assert (code, out) == (2, "")
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message.format(**names) in err
    assert not (tmp_path / "out").exists()


def test_unknown_commands_and_missing_options_are_one_line_too(run):
    for arguments in (["generat"], ["generate"], ["generate", "--to", "image"], ["train"], ["reconstruct"]):
        code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "imge"],
        ["--to", "image", "--seed", "-1"],
        ["--to", "image", "--text", "a", "--weight", "audio=1"],
        ["--to", "image", "--device", "meta"],
        ["--to", "image", "--model", "nowhere"],
        ["--to", "image", "--image", "missing.png"],
    ],
    ids=" ".join,
)
def test_a_refusal_takes_less_than_a_second_of_computing(process, tmp_path, arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process("generate", *arguments, "--output", str(tmp_path / "out")).returncode == 2
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime < 1.0
