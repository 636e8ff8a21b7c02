"""Operations of an update, against counts of what the network's matrices multiply; what a device reaches at most."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from musicvae.codecs import codec
from musicvae.config import Config
from musicvae.model import MusicVAE
from musicvae.train import device
from musicvae.train.cost import Work, forward, generate, train, update_flops
from musicvae.train.device import Limit, gemm_rate, limit

STRUCTURES: dict[str, dict[str, Any]] = {
    "piano": {},
    "piano-flat": {"encoder": "flat", "decoder": "flat"},
    "piano-roll": {"roll": 8},
    "trio-roll": {"kind": "trio", "roll": 8},
    "piano-linear": {"head_hidden": 0},
    "melody-paper": {"kind": "melody", "encoder": "flat", "embedding": 0, "head_hidden": 0},
    "drums-bits": {"kind": "drums", "embedding": 0},
    "trio": {"kind": "trio", "first_input": "previous"},
    "trio-flat": {"kind": "trio", "encoder": "flat", "decoder": "flat", "embedding": 0},
}
SLOTS = 23


def counted(config: Config) -> tuple[int, int, int, int]:
    """Go through a network's matrices: multiply-adds of LSTMs and of linear maps for one clip, counted whole.

    Third and fourth: how many of the LSTMs' and of the linear maps' are for input that is the same in all slots of a
    row or one-hot, less those that it takes to multiply the former once a row.
    """
    spec, sizes = codec(config.codec).spec, config.model
    model = MusicVAE(spec, sizes)
    rows = sizes.bars if sizes.decoder == "hierarchical" else 1
    times = {
        r"encoder\.slots\.": SLOTS,
        r"encoder\.clip\.": SLOTS if sizes.encoder == "flat" else sizes.bars,
        r"encoder\.(mu|sigma)\.": 1,
        r"encoder\.(bar|more)\.": sizes.bars,
        r"conductor\.direct\.": 1,
        r"conductor\.(more|cells)\.": sizes.bars,
        r"decoders\.\d+\.hints\.": 0,
        r"conductor\.lstm\.": sizes.bars,
        r"conductor\.initial\.": 1,
        r"decoders\.\d+\.initial\.": rows,
        r"decoders\.\d+\.(lstm|heads\.(hidden|out))\.": SLOTS,
    }
    lstm = linear = spared_lstm = spared_linear = 0
    for name, weight in model.named_parameters():
        if weight.dim() != 2 or isinstance(model.get_submodule(name.rpartition(".")[0]), torch.nn.Embedding):
            continue
        (count,) = (n for pattern, n in times.items() if re.match(pattern, name))
        recurrent = bool(re.search(r"lstm|slots|clip", name))
        lstm, linear = lstm + recurrent * weight.numel() * count, linear + (not recurrent) * weight.numel() * count
        decoder = re.match(r"decoders\.(\d+)\.", name)
        height, width = weight.shape
        if re.search(r"(decoders\.\d+\.lstm\.layers|encoder\.(slots|clip)\.\w+)\.0\.weight_ih", name):
            reads = model.decoders[int(decoder[1])] if decoder else model.encoder
            first = decoder or (name.startswith("encoder.slots") == (sizes.encoder == "hierarchical"))
            one_hot = reads.embedding.width if first and sizes.embedding == 0 and (decoder or not sizes.roll) else 0
            given = width - reads.embedding.width if decoder else 0
            spared_lstm += height * (one_hot * SLOTS + given * (SLOTS - rows))
        elif decoder and ".heads.hidden." in name:
            spared_linear += height * (width - sizes.decoder_hidden[-1]) * (SLOTS - rows)
    return lstm, linear, spared_lstm, spared_linear


@pytest.mark.parametrize("name", STRUCTURES)
def test_counts_by_the_matrices(toy_config: Callable[..., Config], name):
    config = toy_config(**STRUCTURES[name])
    spec, sizes = codec(config.codec).spec, config.model
    lstm, linear, spared_lstm, spared_linear = counted(config)
    assert forward(spec, sizes, SLOTS) == Work(lstm, linear)
    assert forward(spec, sizes, SLOTS, needed=True) == Work(lstm - spared_lstm, linear - spared_linear)
    assert train(spec, sizes, SLOTS) == Work(3 * lstm, 3 * linear)
    needed = 2 * (lstm + linear - spared_lstm - spared_linear)
    assert update_flops(spec, sizes, 4, 4 * SLOTS) == 4 * 3 * needed
    once_more = generate(spec, sizes, SLOTS, needed=True).flops
    assert update_flops(spec, sizes, 4, 4 * SLOTS, sampled=True) == 4 * (3 * needed + once_more)
    assert 0 < once_more < needed


# ------------------------------------------------------------------------------------------------ the limit
def test_the_rate_of_products():
    """No machine that runs the tests is slower than 10 MFLOP/s or faster than 100 TFLOP/s on its CPU."""
    found = limit(torch.device("cpu"), amp=False)
    assert found.name == "GEMM rate"
    assert 1e7 < found.flops < 1e14
    assert found.key == "of_gemm_rate"


def test_peaks_by_name(monkeypatch):
    """A GPU that is not known is measured, and so is part of one, or any in float32."""
    gpu = torch.device("cuda")
    monkeypatch.setattr(device, "gemm_rate", lambda where, kind: 7e12)
    for name, wanted in (
        ("NVIDIA H100 80GB HBM3", Limit("peak", 989e12)),
        ("NVIDIA H100 PCIe", Limit("peak", 756e12)),
        ("NVIDIA A100-SXM4-40GB", Limit("peak", 312e12)),
        ("NVIDIA L4", Limit("peak", 121e12)),
        ("NVIDIA L40S", Limit("peak", 362e12)),
        ("NVIDIA A10", Limit("peak", 125e12)),
        ("NVIDIA A10G", Limit("GEMM rate", 7e12)),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", Limit("GEMM rate", 7e12)),
        ("NVIDIA GeForce RTX 4090", Limit("peak", 165e12)),
        ("NVIDIA GeForce RTX 4090 D", Limit("GEMM rate", 7e12)),
        ("Something else", Limit("GEMM rate", 7e12)),
    ):
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda where, name=name: name)
        assert limit(gpu, amp=True) == wanted, name
        assert limit(gpu, amp=False) == Limit("GEMM rate", 7e12)


@pytest.mark.parametrize(("tries", "fastest"), [(1, 0.25), (4, 0.125)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_rate_is_of_the_fastest_product(monkeypatch, kind, tries, fastest):
    # The limit of time; products of 0.5, 0.25 and 6 seconds, and one of 0.125 beyond the limit.
    ticks = iter([0.0, 1.0, 1.5, 2.0, 2.25, 3.0, 9.0, 10.0, 10.125])
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(ticks))
    monkeypatch.setattr(device, "GEMM_SECONDS", 3.0)
    monkeypatch.setattr(device, "GEMM_TRIES", tries)
    monkeypatch.setitem(device.GEMM_SIZE, "cpu", 10)
    assert gemm_rate(torch.device("cpu"), kind) == 2 * 10**3 / fastest
