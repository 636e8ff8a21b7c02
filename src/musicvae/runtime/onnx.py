"""The onnxruntime backend: what runs where torch is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from musicvae.config import ModelConfig
from musicvae.errors import BundleError
from musicvae.tokens import TokenSpec

__all__ = ["INT8", "OnnxBackend"]

INT8 = "step-int8"
"""The graph of the step that multiplies in int8. The others are encode, start and step, each as `<name>.onnx`; their
weights lie in model.safetensors beside them."""


class OnnxBackend:
    """Computes with onnxruntime on the CPU. A graph is loaded when it is first used."""

    def __init__(
        self, folder: Path, spec: TokenSpec, config: ModelConfig, *, threads: int = 0, int8: bool = False
    ) -> None:
        """`threads` is how many each operation may use (0: as many as there are cores); `int8` where there is it."""
        self.folder, self.spec, self.config, self.threads = folder, spec, config, threads
        self.step_graph = INT8 if int8 and (folder / f"{INT8}.onnx").exists() else "step"
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def encode(
        self, tokens: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Tokens (B, U, S, F), lengths (B, U) → mu (B, Z), sigma (B, Z)."""
        mu, sigma = self._run("encode", tokens=tokens, lengths=lengths)
        return mu, sigma

    def start(self, z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Z (B, Z) → what is the same in all slots of each row (N, C), its initial state: see `MusicVAE.start`."""
        row, state = self._run("start", z=np.asarray(z, dtype=np.float32))
        return row, state

    def step(
        self,
        before: NDArray[np.int64],
        row: NDArray[np.float32],
        state: NDArray[np.float32],
        noise: NDArray[np.float32],
        temperature: float,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Draw the next slot of n rows: see `MusicVAE.step`."""
        slot, state, logits = self._run(
            self.step_graph, before=before, row=row, state=state, noise=noise, temperature=np.float32(temperature)
        )
        return slot, state, logits

    def _run(self, name: str, **inputs: Any) -> list[Any]:
        if name not in self._sessions:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.log_severity_level = 3
            # Threads that wait would keep their cores busy, half of all time, which the page's sound needs.
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            path = self.folder / f"{name}.onnx"
            try:
                self._sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            except Exception as error:  # onnxruntime has one exception class a failure, without a common base
                raise BundleError(
                    f"{path}: cannot be loaded ({str(error).splitlines()[0]}). Export the model again"
                ) from None
        session = self._sessions[name]
        names = {value.name for value in session.get_inputs()}  # no lengths where every bar has the same
        outputs: list[Any] = session.run(None, {k: np.ascontiguousarray(v) for k, v in inputs.items() if k in names})
        return outputs
