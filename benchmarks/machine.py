"""What this machine can do: the limits that all other figures stand beside."""

from __future__ import annotations

import functools
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.child import apart
from benchmarks.report import Column, Row, shared, show
from musicvae.errors import MissingExtraError

ROWS = (16, 32, 64, 512)
"""Rows of the models' products: the bars of one clip, a batch of clips, the bars of a batch."""
INNER, GATES = (512, 640), 2048
"""The models' products: (rows, 512) times (512, 2048), the gates of 512 units from the state before; and a width that
is no power of two, which some libraries multiply half as fast again."""
PACKAGES = ("musicvae", "numpy", "symusic", "onnxruntime", "torch")
_BEYOND_CACHES = 2**29


class Limits(NamedTuple):
    """What was measured, for other figures to be compared with."""

    products: tuple[Row, ...]
    """Rows with `precision`, `rows` and `gflop_per_second`."""
    reads: tuple[Row, ...]
    """Rows with `mb` and `gb_per_second`."""

    def gemm(self, precision: str, rows: float | None = None) -> float:
        """Return the operations a second of a matrix product; nan where none was measured in this precision.

        The fastest of all sizes and libraries, or of those with the most of the rows measured that `rows` reaches.
        """
        mine = [p for p in self.products if p["precision"] == precision]
        if rows is not None:
            counts = sorted({p["rows"] for p in mine})
            count = max((c for c in counts if c <= rows), default=counts[0] if counts else 0)
            mine = [p for p in mine if p["rows"] == count]
        return max((p["gflop_per_second"] for p in mine), default=float("nan")) * 1e9

    def seconds(self, precision: str, flops: float, few: Sequence[tuple[float, float]]) -> float:
        """Return how long operations take at best, if those in `few` are in products of no more rows than these.

        `few` are pairs of rows and operations; the rest is done as fast as anything.
        """
        rest = flops - sum(some for _, some in few)
        return rest / self.gemm(precision) + sum(some / self.gemm(precision, rows) for rows, some in few)

    def read(self, size: float | None = None) -> float:
        """Return the bytes a second at which memory is read again and again: as large as `size` bytes, or the largest.

        Weights that fit into a cache are read from there.
        """
        fits = [r for r in self.reads if size is not None and r["mb"] * 1e6 >= size / 2]
        chosen = min(fits, key=lambda r: float(r["mb"])) if fits else max(self.reads, key=lambda r: float(r["mb"]))
        return float(chosen["gb_per_second"]) * 1e9


class Measured(NamedTuple):
    """The machine while something is measured; `done` closes it."""

    facts: Row
    limits: Limits
    rows: tuple[Row, ...]

    def done(self) -> Row:
        """Return facts and limits, with the load at the end."""
        self.facts["load"].append(os.getloadavg()[0])
        return {**self.facts, "limits": list(self.rows)}


def measure(threads: int | None, *, quick: bool = False, whole: bool = False) -> Measured:
    """Measure the machine, in a process of its own: in some ten seconds, or `whole` in half a minute."""
    facts = describe(threads)
    effort = "quick" if quick else "whole" if whole else "brief"
    rows = tuple(apart("machine:rates", threads=threads, count=facts["threads"], effort=effort))
    products = tuple(row for row in rows if "precision" in row)
    return Measured(facts, Limits(products, tuple(row for row in rows if row["name"].startswith("read"))), rows)


def describe(threads: int | None) -> Row:
    """Return what the machine is; `threads` None means one a core."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {
        "cpu": cpu(),
        "cores": cores,
        "threads": threads or cores,
        "memory_gb": round(_memory() / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version(), **{p: v for p in PACKAGES if (v := version(p))}},
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": [os.getloadavg()[0]],
    }


def version(package: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def require_torch(what: str) -> None:
    """Raise MissingExtraError where torch, which `what` needs, is not installed."""
    if not version("torch"):
        raise MissingExtraError(what, "train")


def cpu() -> str:
    """Return the processor's name, with the extensions that matter to matrix products."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        said = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    except OSError:
        return platform.processor() or platform.machine()
    has = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if f in
           said.get("flags", "").split()]  # fmt: skip
    name = said.get("model name") or platform.machine()
    return f"{name} ({' '.join(has)})" if has else name


class _Effort(NamedTuple):
    """How much is measured: seconds for each, sizes of square products, rows and widths of the models', a buffer."""

    seconds: float
    squares: tuple[int, ...]
    rows: tuple[int, ...]
    inner: tuple[int, ...]
    gates: int
    buffer: int


_EFFORTS = {
    "whole": _Effort(0.3, (1024, 2048, 4096), ROWS, INNER, GATES, 2**20),
    "brief": _Effort(0.1, (1024, 2048), ROWS, INNER, GATES, 2**20),
    "quick": _Effort(0.0, (32,), (2,), (8,), 32, 2**10),
}


def rates(count: int, effort: str) -> list[Row]:
    """Measure products and memory with `count` threads; `effort` is a name in _EFFORTS."""
    seconds, squares, rows, inner, gates, small = _EFFORTS[effort]
    found: list[Row] = []
    for name, precision, product in _products(count):
        # of the models', several matrices in turn, as layers follow one another: one alone stays in the nearest cache
        for M, K, N, matrices in [(n, n, n, 1) for n in squares] + [(n, k, gates, 6) for n in rows for k in inner]:
            try:
                took = _best(product(M, K, N, matrices), seconds)
            except RuntimeError:  # a product that this build of the library lacks
                continue
            what = f"{M} square" if matrices == 1 else f"{M} rows × {K}·{N}"
            figures = {"precision": precision, "rows": M, "gflop_per_second": 2 * M * K * N * matrices / took / 1e9}
            found.append({"name": f"product {precision}, {what}, {name}", **figures})
    beyond = 256 * small if effort == "quick" else max(_BEYOND_CACHES, min(4 * _cache(), _memory() // 8))
    for size in (small, 4 * small, 16 * small, beyond):
        for what, took in _memory_times(size, seconds):
            moved = size * (2 if what == "copy" else 1)
            figures = {"mb": size / 1e6, "gb_per_second": moved / took / 1e9}
            found.append({"name": f"{what} {size / 2**20:g} MiB", **figures})
    return found


Product = Callable[[int, int, int, int], Callable[[], object]]
"""Makes what multiplies (M, K) with several (K, N), one after another: M, K, N, how many."""


def _products(count: int) -> Iterator[tuple[str, str, Product]]:
    """Yield library, precision and products."""
    import numpy as np

    def with_numpy(M: int, K: int, N: int, matrices: int) -> Callable[[], object]:
        rng = np.random.default_rng(0)
        a, out = rng.random((M, K), np.float32), np.empty((M, N), np.float32)
        bs = [rng.random((K, N), np.float32) for _ in range(matrices)]
        return lambda: [np.matmul(a, b, out=out) for b in bs]

    yield "numpy", "float32", with_numpy
    if version("torch"):
        import torch

        torch.set_num_threads(count)

        def with_torch(kind: torch.dtype, M: int, K: int, N: int, matrices: int) -> Callable[[], object]:
            # the transposed view is how a linear map holds its weights
            if kind == torch.int8:
                left = torch.randint(-100, 100, (M, K), dtype=kind)
                maps = [torch.randint(-100, 100, (N, K), dtype=kind).t() for _ in range(matrices)]
                return lambda: [torch._int_mm(left, b) for b in maps]
            a, out = torch.randn(M, K).to(kind), torch.empty(M, N, dtype=kind)
            bs = [torch.randn(N, K).to(kind).t() for _ in range(matrices)]
            return lambda: [torch.mm(a, b, out=out) for b in bs]

        for name in ("float32", "bfloat16", "int8"):
            yield "torch", name, functools.partial(with_torch, getattr(torch, name))
    if version("onnx"):
        for name in ("float32", "int8"):
            yield "onnxruntime", name, functools.partial(_with_onnxruntime, name, count)


def _with_onnxruntime(precision: str, count: int, M: int, K: int, N: int, matrices: int) -> Callable[[], object]:
    """Make products by a graph whose matrices are constant, as those of a model are."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    whole = precision == "int8"
    operation, given, made = ("MatMulInteger", TensorProto.UINT8, TensorProto.INT32) if whole else ("MatMul", 1, 1)
    rng = np.random.default_rng(0)
    a = rng.integers(0, 255, (M, K), np.uint8) if whole else rng.random((M, K), np.float32)
    bs = [
        rng.integers(-127, 127, (K, N), np.int8) if whole else rng.random((K, N), np.float32) for _ in range(matrices)
    ]
    graph = helper.make_graph(
        [helper.make_node(operation, ["a", f"b{i}"], [f"y{i}"]) for i in range(matrices)],
        "products",
        [helper.make_tensor_value_info("a", given, (M, K))],
        [helper.make_tensor_value_info(f"y{i}", made, (M, N)) for i in range(matrices)],
        [numpy_helper.from_array(b, f"b{i}") for i, b in enumerate(bs)],
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"a": a})


def _memory_times(size: int, seconds: float) -> Iterator[tuple[str, float]]:
    """Yield what is done to a buffer of `size` bytes and how long it takes at best: read it, or copy it to another."""
    import numpy as np

    n = size // 4
    if version("torch"):
        import torch

        flat, other = torch.ones(n), torch.ones(n)
        matrix, vector = flat[: n // 256 * 256].view(-1, 256), torch.ones(256)
        reads: list[Callable[[], object]] = [flat.sum, lambda: torch.mv(matrix, vector)]
        copy: Callable[[], object] = lambda: other.copy_(flat)  # noqa: E731
    else:
        ours, theirs = np.ones(n, np.float32), np.ones(n, np.float32)
        table, column = ours[: n // 256 * 256].reshape(-1, 256), np.ones(256, np.float32)
        reads = [ours.sum, lambda: table @ column]
        copy = lambda: np.copyto(theirs, ours)  # noqa: E731
    yield "read", min(_best(work, seconds) for work in reads)
    yield "copy", _best(copy, seconds)


def _best(work: Callable[[], object], seconds: float) -> float:
    """Return the seconds of one call: the best of many blocks of at least 5 ms."""
    began = time.perf_counter()
    for _ in range(3):
        work()
    once = (time.perf_counter() - began) / 3
    block = max(1, round(0.005 / max(once, 1e-7))) if seconds else 1
    best, stop = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        for _ in range(block):
            work()
        now = time.perf_counter()
        best = min(best, (now - began) / block)
        if now > stop:
            return best


def _memory() -> int:
    if hasattr(os, "sysconf"):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 2**33


def _cache() -> int:
    """Return the bytes of the largest cache; 0 where the system does not say."""
    sizes = [0]
    for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = path.read_text().strip()
        sizes.append(int(text.rstrip("KMG")) * {"K": 2**10, "M": 2**20, "G": 2**30}.get(text[-1], 1))
    return max(sizes)


@click.command()
@shared
def command(threads: int | None, quick: bool, json_path: str | None) -> None:
    """Matrix products by precision and rows, reading and copying of memory, versions, load."""
    measured = measure(threads, quick=quick, whole=True)
    products: dict[str, Row] = {}
    memory: dict[str, Row] = {}
    for row in measured.rows:
        what, _, rest = row["name"].partition(" ")
        if what == "product":
            precision, shape, library = rest.split(", ", 2)
            line = products.setdefault(f"{precision}, {library}", {"name": f"{precision}, {library}"})
            line[shape] = row["gflop_per_second"]
        else:
            memory.setdefault(what, {"name": what})[rest] = row["gb_per_second"]
    show(
        "machine",
        measured.done(),
        measured.rows,
        [(list(products.values()), _columns("GFLOP/s", products)), (list(memory.values()), _columns("GB/s", memory))],
        json_path=json_path,
        notes=[
            f"{measured.facts['system']}, {measured.facts['memory_gb']} GB of memory, largest cache "
            f"{_cache() / 2**20:.0f} MiB. Best of blocks of 5 ms or more. A copy counts what is read and what is "
            "written. Products of few rows go through six matrices in turn, so that weights come from where a model's "
            "would."
        ],
    )


def _columns(unit: str, lines: Mapping[str, Row]) -> list[Column]:
    keys = dict.fromkeys(key for line in lines.values() for key in line if key != "name")
    return [Column("name", unit), *(Column(key, key) for key in keys)]
