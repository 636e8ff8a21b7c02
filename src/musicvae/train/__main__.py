"""`python -m musicvae.train`: training where only numpy, torch and safetensors are installed.

    python -m musicvae.train DATA -o RUN [--preset NAME] [--set NAME=VALUE …] [--resume] [--init RUN]
    torchrun --standalone --nproc-per-node 2 -m musicvae.train DATA -o RUN …    two GPUs, or two processes on a CPU

The same as `musicvae train`, which needs click and tqdm for its face.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicvae.config import override
from musicvae.errors import MusicVAEError
from musicvae.presets import preset
from musicvae.train.loop import train
from musicvae.train.record import resumable, stored_config
from musicvae.train.report import Event, line


def main() -> None:
    """Run the loop with plain lines for progress; exit code 1 for an error, 130 after Ctrl-C."""
    interrupted = False

    def show(event: Event) -> None:
        nonlocal interrupted
        interrupted = event.data.get("interrupted", False)
        if event.kind != "train" or event.data["step"] % 100 == 0:
            print(line(event), flush=True)

    parser = argparse.ArgumentParser(prog="python -m musicvae.train", description="Train where there is only torch.")
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--preset", default="piano-16bar")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--init")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto", choices=["auto", "float32", "bfloat16"])
    parser.add_argument("--sample-every", type=int, default=5)
    parser.add_argument("--stop-after", type=int)
    chosen = parser.parse_args()
    try:
        resumes = chosen.resume and resumable(chosen.out)
        config = stored_config(chosen.out) if resumes else preset(chosen.preset)
        for assignment in chosen.set:
            config = override(config, assignment)
        train(
            chosen.data,
            config,
            chosen.out,
            resume=chosen.resume,
            init=chosen.init,
            device=chosen.device,
            precision=chosen.precision,
            sample_every=chosen.sample_every,
            stop_after=chosen.stop_after,
            report=show,
        )
    except MusicVAEError as error:
        sys.exit(f"Error: {error}")
    if interrupted:
        sys.exit(130)


if __name__ == "__main__":
    main()
