"""Which device runs, and what is said about precisions that it is slow at."""

import logging

import pytest
import torch

from opencodi import AnyToAnyPipeline, device
from opencodi.errors import ArgumentError

from . import tiny


@pytest.mark.parametrize("name", ["meta", "abacus", "cuda:77", "", "cpu:x", 7])
def test_a_device_that_cannot_be_used_is_named(name):
    with pytest.raises(ArgumentError, match=rf"device: '{name}' cannot be used"):
        device.pick_device(name)


def test_half_precision_is_slow_where_the_cpu_has_no_instructions_for_it():
    avx2, avx512, arm = {"avx2": True}, {"avx512_f": True, "avx512_bf16": True}, {"bf16": True, "fp16_arith": True}
    said = device.slow_precision(torch.bfloat16, avx2)
    assert said.startswith("bfloat16 is many times slower than float32 on this CPU") and said.endswith("use float32")
    assert device.slow_precision(torch.float16, avx512).startswith("float16 is")
    assert device.slow_precision(torch.bfloat16, avx512) is None
    assert device.slow_precision(torch.bfloat16, arm) is device.slow_precision(torch.float16, arm) is None
    assert device.slow_precision(torch.float32, {}) is device.slow_precision(torch.float64, {}) is None


def test_whoever_asks_for_a_slow_precision_is_told_once(tmp_path, caplog):
    tiny.pipeline().save_pretrained(tmp_path / "model")
    slow = [dtype for dtype in (torch.float16, torch.bfloat16) if device.slow_precision(dtype)]
    device._say_if_slow.cache_clear()
    with caplog.at_level(logging.WARNING, logger="opencodi"):
        AnyToAnyPipeline.from_pretrained(tmp_path / "model")
        AnyToAnyPipeline.from_pretrained(tmp_path / "model", torch_dtype=torch.float32).to("cpu")
        assert not caplog.records
        device.warn_if_slow(torch.float16, "cuda")
        assert not caplog.records
        AnyToAnyPipeline.from_pretrained(tmp_path / "model", torch_dtype=torch.float16).to("cpu", torch.bfloat16)
        AnyToAnyPipeline.from_pretrained(tmp_path / "model").to("cpu", torch.float16)
        AnyToAnyPipeline.from_pretrained(tmp_path / "model", torch_dtype={"default": torch.bfloat16}).to("cpu")
    on_cpu = slow if device.pick_device().type == "cpu" else [each for each in slow if each == torch.bfloat16]
    assert len(caplog.records) >= len(on_cpu) and len(caplog.records) <= len(slow)
    assert all("use float32" in record.getMessage() and "\n" not in record.getMessage() for record in caplog.records)
