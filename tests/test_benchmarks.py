"""The benchmarks run, and what they count and print is right. No time is asserted."""

import io
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import child, compare, cost, prepare, report, sizes
from benchmarks.machine import Limits
from benchmarks.music import song, write_songs
from benchmarks.train import limits as train_limits
from musicvae.codecs import codec
from musicvae.config import Config
from musicvae.model import MusicVAE

ROOT = Path(__file__).parents[1]
MACHINE = {"cpu": "a processor", "cores": 2, "threads": 1, "load": [0.5, 1.25], "versions": {"python": "3.11"}}

STRUCTURES = [
    {"kind": "piano"},
    {"kind": "piano", "encoder": "flat", "decoder": "flat"},
    {"kind": "melody", "encoder": "flat", "embedding": 0, "head_hidden": 0},
    {"kind": "drums", "embedding": 0, "head_hidden": 8},
    {"kind": "trio", "encoder": "flat", "decoder": "flat", "embedding": 0, "head_hidden": 0},
    {"kind": "trio"},
]


def run(*words: str) -> str:
    command = [sys.executable, "-m", "benchmarks", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------ operations
def matrices(*modules: nn.Module) -> int:
    """Return how many weights are in matrices that something is multiplied with: all but embeddings and biases."""
    tables = {id(m.weight) for module in modules for m in module.modules() if isinstance(m, nn.Embedding)}
    return sum(p.numel() for module in modules for p in module.parameters() if p.dim() == 2 and id(p) not in tables)


@pytest.fixture
def _plain_torch():
    """Keep torch from oneDNN, whose LSTM hides its products."""
    torch.backends.mkldnn.set_flags(_enabled=False)
    yield
    torch.backends.mkldnn.set_flags(_enabled=True)


def network(config: Config) -> MusicVAE:
    return MusicVAE(codec(config.codec).spec, config.model).eval()


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_a_row_multiplies_with_every_weight_once_a_step(toy_config, structure):
    config = toy_config(bars=3, **structure)
    net, spec, slots = network(config), codec(config.codec).spec, 10
    encoder = net.encoder
    within = slots * matrices(encoder.slots) + 3 * matrices(encoder.clip) if encoder.hierarchical else 0
    read = within or slots * matrices(encoder.clip)
    assert cost.encode(spec, config.model, slots).flops == 2 * (read + matrices(encoder.mu, encoder.sigma))
    assert cost.slot(spec, config.model).flops == 2 * sum(matrices(d.lstm, d.heads) for d in net.decoders)
    first = sum(matrices(d.initial) for d in net.decoders)
    conductor = [] if net.conductor is None else [net.conductor.initial]
    rows, steps = (1, 0) if net.conductor is None else (3, 3 * matrices(net.conductor.lstm))
    assert cost.begin(spec, config.model).flops == 2 * (rows * first + steps + matrices(*conductor))


@pytest.mark.parametrize("structure", [s for s in STRUCTURES if s.get("embedding") != 0], ids=str)
@pytest.mark.usefixtures("_plain_torch")
def test_torch_counts_as_many_operations_as_are_needed(toy_config, structure):
    config = toy_config(bars=3, **structure)
    net, spec, model = network(config), codec(config.codec).spec, config.model
    S, F, clips = 4 if spec.end is not None else spec.slots, len(spec.sizes), 2
    tokens, lengths = torch.zeros(clips, 3, S, F, dtype=torch.int64), torch.full((clips, 3), S)

    def counted(function, *arguments):
        with FlopCounterMode(display=False) as count:
            result = function(*arguments)
        return count.get_total_flops(), result

    with torch.no_grad():
        encoded, _ = counted(net.encode, tokens, lengths)
        begun, (row, state) = counted(net.start, torch.zeros(clips, model.z))
        before = torch.tensor(spec.sizes).expand(len(row), F)
        noise = torch.zeros(len(row), sum(spec.sizes))
        drawn, _ = counted(net.step, before, row, state, noise, torch.tensor(1.0))
    assert encoded == clips * cost.encode(spec, model, 3 * S, needed=True).flops
    assert begun == clips * cost.begin(spec, model, needed=True).flops
    assert drawn == len(row) * cost.slot(spec, model, needed=True).flops


def test_an_update_is_three_passes(toy_config):
    config = toy_config()
    spec, model = codec(config.codec).spec, config.model
    parts = cost.encode(spec, model, 20).flops + cost.generate(spec, model, 20).flops
    assert cost.generate(spec, model, 20).flops == cost.begin(spec, model).flops + 20 * cost.slot(spec, model).flops
    assert cost.train(spec, model, 20).flops == 3 * cost.forward(spec, model, 20).flops == 3 * parts


@pytest.mark.parametrize("structure", [{}, {"decoder": "flat"}], ids=str)
def test_weights_before_the_first_slot_are_those_of_the_network(toy_config, structure):
    config = toy_config(bars=3, **structure)
    net = network(config)
    given = config.model.z if net.conductor is None else config.model.conductor_hidden[-1]
    (decoder,) = net.decoders
    gates, heads = 4 * config.model.decoder_hidden[0], config.model.head_hidden * 4
    rows = matrices(decoder.initial) + given * (gates + heads)
    conductor = 0 if net.conductor is None else 3 * matrices(net.conductor.lstm) + matrices(net.conductor.initial)
    assert cost.weights_before(codec(config.codec).spec, config.model) == rows + conductor


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_what_must_wait_is_what_the_states_are_multiplied_with(toy_config, structure):
    config = toy_config(bars=3, **structure)
    net, slots = network(config), 10
    found = cost.recurrent(codec(config.codec).spec, config.model, slots)

    def states(*modules):
        return sum(p.numel() for m in modules for name, p in m.named_parameters() if "weight_hh" in name)

    encoder, conductor = net.encoder, [] if net.conductor is None else [(1, 3 * states(net.conductor))]
    clip = (1, (3 if encoder.hierarchical else slots) * states(encoder.clip))
    assert found["encode"] == ([(3, slots * states(encoder.slots)), clip] if encoder.hierarchical else [clip])
    assert found["generate"] == [*conductor, (3 if conductor else 1, slots * states(*net.decoders))]


class Padded(nn.Module):
    """Works on as many slots in every bar as the fullest one has."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config.model
        self.slot, self.clip = nn.Linear(6, 5, bias=False), nn.Linear(3, 7, bias=False)

    def forward(self, tokens, lengths, noise):
        self.clip(torch.zeros(len(tokens), 3))
        return self.slot(torch.zeros(*lengths.shape, int(lengths.max()), 6))


def test_padding_is_what_is_done_for_slots_that_are_not_there(toy_config):
    config = toy_config(bars=3)
    tokens, lengths = torch.zeros(2, 3, 5, 4, dtype=torch.int64), torch.tensor([[5, 1, 1], [1, 1, 1]])
    done, needed = 2 * 3 * 5 * 30 + 2 * 21, 10 * 30 + 2 * 21
    assert cost.operations(Padded(config), tokens, lengths) == 2 * done
    assert cost.padding(Padded(config), tokens, lengths) == pytest.approx(1 - needed / done)
    net = network(config)
    assert cost.padding(net, torch.zeros(2, 3, 64, 4, dtype=torch.int64), torch.full((2, 3), 64)) == pytest.approx(0)
    assert 0 < cost.padding(net, tokens.repeat(8, 1, 1, 1), lengths.repeat(8, 1)) < 1  # more bars than groups by length
    assert torch.backends.mkldnn.enabled


# ------------------------------------------------------------------------------------------------ the machine
def product(precision, rows, rate):
    return {"name": "x", "precision": precision, "rows": rows, "gflop_per_second": rate}


def test_limits_are_the_fastest_of_what_fits():
    limits = Limits(
        (product("float32", 16, 50), product("float32", 16, 60), product("float32", 512, 100), product("int8", 16, 9)),
        ({"mb": 1.0, "gb_per_second": 100}, {"mb": 16.0, "gb_per_second": 50}, {"mb": 900.0, "gb_per_second": 20}),
    )
    assert limits.gemm("float32") == 100e9
    assert limits.gemm("float32", 512) == 100e9
    assert limits.gemm("float32", 40) == limits.gemm("float32", 3) == 60e9
    assert limits.gemm("int8", 512) == 9e9
    assert np.isnan(limits.gemm("bfloat16"))
    assert [limits.read(size) for size in (1e6, 10e6, 2e9, None)] == [100e9, 50e9, 20e9, 20e9]


def test_share_of_an_update_is_rate_times_operations():
    row = {"clips_per_second": 10.0, "gflop_needed": 2.0, "gflop_per_clip": 4.0, "precision": "float32"}
    row["few"] = [(40, 0.5e9)]  # at half the rate
    limits = Limits((product("float32", 512, 100), product("float32", 16, 50)), ())
    found = train_limits(row | {"share": None}, limits)
    assert found["limit_per_second"] == pytest.approx(50)
    assert found["share_at_rows"] == pytest.approx(10 * (1.5 / 100 + 0.5 / 50))
    assert (found["share"], found["share_whole"]) == (pytest.approx(0.2), pytest.approx(0.4))
    assert train_limits(row | {"share": 0.3}, Limits((), ()))["share"] == 0.3  # as a run on a GPU reports it


def test_peak_of_a_command_is_its_own():
    large = np.ones(300_000_000, np.uint8)
    done = child.command([sys.executable, "-c", "pass"])
    filled = child.command([sys.executable, "-c", "b'x' * 100_000_000"])
    assert done.peak_mb < 100 < filled.peak_mb < len(large) / 1e6
    with pytest.raises(click.ClickException, match="ended with 3"):
        child.command([sys.executable, "-c", "raise SystemExit(3)"])


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system does not tell")
def test_peak_of_a_family_counts_children():
    code = "import time; kept = b'x' * 150_000_000; print(flush=True); time.sleep(60)"
    with child.Family(pause=0.01) as family:
        time.sleep(0.3)
        before = family.peak_mb
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(0.3)
            process.kill()
    assert family.peak_mb - before > 100


# ------------------------------------------------------------------------------------------------ the music
def test_songs_made_up_are_as_full_as_real_ones():
    songs = [song(seed) for seed in range(60)]
    notes = np.array([np.bincount(s.onset[s.part == 0] // 16, minlength=80) for s in songs])
    assert 9 < notes.mean() < 13
    assert notes.mean(axis=1).std() > 4  # songs differ
    assert all(set(s.part) == {0, 1, 2, 3} for s in songs)
    assert abs(len(song(1, 100, density=20).select(song(1, 100, density=20).part == 0)) / 100 - 20) < 4


def test_random_weights_draw_bars_as_full_as_real_ones():
    config = sizes.settings("piano-512", quick=True)
    torch.manual_seed(0)
    assert abs(sizes.fill_bars(network(config), config, 0.7, clips=2) - sizes.SLOTS) < 2


def test_sizes_are_those_of_the_published_small_model():
    model, train = (getattr(sizes.settings("hierdec-mel-512"), part) for part in ("model", "train"))
    assert (model.encoder_hidden, model.conductor_hidden, model.decoder_hidden) == ((512, 512),) * 3
    assert (model.z, model.bars, model.encoder, train.batch) == (256, 16, "flat", 32)


def test_files_that_come_again_are_other_songs(tmp_path):
    from musicvae.data.prepare import prepare as real

    source = write_songs(tmp_path / "music", 3, 8)
    prepare.multiply(str(source), str(tmp_path / "many"), 11)
    record = real([tmp_path / "many"], None, workers=1).record
    assert record["files"]["kept"] == 11


def test_an_npz_that_comes_again_has_all_notes_moved():
    end = np.zeros(129, np.int32)
    end[61:] = 2  # two steps of key 60
    buffer = io.BytesIO()
    np.savez(buffer, pianoroll_0_csc_indptr=end, other=np.arange(3))
    ends = []
    for number in (1, 2, 3):
        with zipfile.ZipFile(io.BytesIO(prepare.changed_npz(buffer.getvalue(), number))) as archive:
            assert set(archive.namelist()) == {"pianoroll_0_csc_indptr.npy", "other.npy"}
            ends.append(np.load(io.BytesIO(archive.read("pianoroll_0_csc_indptr.npy"))))
    assert [int(np.flatnonzero(np.diff(e))[0]) for e in ends] == [61, 59, 62]
    assert all(e[-1] == 2 for e in ends)
    assert prepare.changed_npz(b"nothing", 1) == b"nothing"
    assert prepare.changed_midi(b"nothing", 1) == b"nothing"


# ------------------------------------------------------------------------------------------------ tables and JSON
def test_table():
    rows = [{"name": "a", "x": 0.12345, "n": 1234567}, {"name": "longer", "x": None, "n": 7}]
    columns = [report.Column("name", "what"), report.Column("x", "x, ms"), report.Column("n", "n")]
    assert report.table(rows, [*columns, report.Column("absent", "no")]).splitlines() == [
        "| what   | x, ms |         n |",
        "|--------|------:|----------:|",
        "| a      | 0.123 | 1,234,567 |",
        "| longer |       |         7 |",
    ]
    assert [report.cell(v, ".0%") for v in (0.5, float("nan"), "as it is")] == ["50%", "–", "as it is"]
    assert report.cell(12345.6, ".3g") == "12,346"


@pytest.mark.parametrize("where", ["file", "-"])
def test_json(tmp_path, capsys, where):
    rows = [{"name": "a", "x": np.float32(0.5), "y": float("nan")}]
    path = str(tmp_path / "result.json") if where == "file" else "-"
    report.show("train", MACHINE, rows, [(rows, [report.Column("x", "x")])], json_path=path, notes=["a note"])
    printed = capsys.readouterr().out
    text = printed if where == "-" else Path(path).read_text()
    assert json.loads(text) == {
        "verb": "train", "machine": MACHINE, "rows": [{"name": "a", "x": 0.5, "y": None}], "notes": ["a note"],
    }  # fmt: skip
    if where == "file":
        assert printed.startswith("a processor, 2 cores, 1 threads; load 0.50 → 1.25; python 3.11\n\n|   x |")
        assert printed.endswith("\n\na note\n")


def test_others_at_work_are_told(capsys):
    rows = [{"name": "a"}]
    for load in (2.0, 3.5):
        machine = MACHINE | {"load": [load, 2.0]}
        report.show("train", machine, rows, [(rows, [report.Column("name", "x")])], json_path=None)
        told = "Others were at work when this began (load 3.5, 2 cores)" in capsys.readouterr().out
        assert told == (load > 2)


def test_timed_does_it_often_enough():
    assert len(report.timed(lambda: None, seconds=0, least=4).seconds) == 4
    assert len(report.timed(lambda: None, seconds=60, most=6).seconds) == 6
    timing = report.Timing((3.0, 1.0, 2.5))
    assert (timing.best, timing.median) == (1.0, 2.5)


def written(path, verb, *rows):
    path.write_text(json.dumps({"verb": verb, "machine": MACHINE, "rows": list(rows)}))
    return str(path)


def test_compare(tmp_path):
    name = "hierdec-mel-512, bfloat16, batch 32"
    before = written(tmp_path / "1.json", "train", {"name": name, "clips_per_second": 10.0, "peak_mb": 2000.0})
    after = written(tmp_path / "2.json", "train", {"name": name, "clips_per_second": 23.0, "peak_mb": 1000.0})
    results = [compare.read(Path(path)) for path in (before, after)]
    assert {row["figure"]: row["ratio 2"] for row in compare.ratios(results)} == {"clips_per_second": 2.3, "peak_mb": 2}
    found = {(row["what"], row["run"]): row["ratio"] for row in compare.published(results)}
    assert found["training, batch 32", 2] == pytest.approx(10)
    assert found["peak memory of it", 1] == pytest.approx(1.4)
    done = CliRunner().invoke(compare.command, [before, after])
    assert done.exit_code == 0, done.output
    assert "ANOTHER machine" in done.output


def test_compare_names_what_is_no_result(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[]")
    done = CliRunner().invoke(compare.command, [str(path)])
    assert done.exit_code == 1
    assert f"{path}: is no result of a benchmark" in done.output


@pytest.mark.parametrize("row", ["hierdec-mel-512, 1", "hierdec-mel-512, 1, float32", "hierdec-mel-512, 16"])
def test_published_figures_stand_beside_their_own(row):
    result = {"verb": "generate", "rows": [{"name": row, "best_ms": 38.0}]}
    found = [(r["what"], r["ratio"]) for r in compare.published([result])]
    assert found == ([] if row.endswith("16") else [("1 clip", pytest.approx(10))])


# ------------------------------------------------------------------------------------------------ the verbs
@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["machine"], ["product float32, 32 square, onnxruntime", "product bfloat16, 2 rows × 8·32, torch"]),
        (["generate"], ["bundled, 1", "bundled, 2", "hierdec-mel-512, 1", "piano-512, 2"]),
        (["encode", "--model", "piano-512"], ["piano-512, 1", "piano-512, 2"]),
        (["train", "--preset", "piano-512"], ["piano-512, float32, batch 4"]),
        (["prepare"], ["read music made up, mid, every voice", "prepare music made up, 20 files"]),
        (["serve"], ["all", "all of its processes"]),
        (["start"], ["musicvae --help", "musicvae generate", "musicvae and what it needs"]),
    ],
    ids=lambda value: value[0],
)
def test_every_verb_runs(tmp_path, words, names):
    path = tmp_path / "result.json"
    printed = run(*words, "--quick", "--threads", "1", "--json", str(path))
    result = json.loads(path.read_text())
    assert (result["verb"], result["machine"]["threads"]) == (words[0], 1)
    rows = {row["name"]: row for row in result["rows"]}
    assert set(names) <= set(rows)
    assert all(np.isfinite(v) for row in rows.values() for v in row.values() if isinstance(v, float))
    for name in names if words != ["machine"] else ():
        assert f"| {name} " in printed
