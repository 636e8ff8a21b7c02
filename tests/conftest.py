from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from musicvae.config import CodecConfig, Config, LossConfig, ModelConfig, TrainConfig
from musicvae.music import Score
from songs import band, write_tracks

settings.register_profile("musicvae", deadline=None, print_blob=True)  # a busy machine is not a failure
settings.load_profile("musicvae")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def broken_pipes() -> Iterator[None]:
    """The command line lets a broken pipe end its process; that of the tests goes on."""
    yield
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


@pytest.fixture(autouse=True, scope="session")
def small_products() -> None:
    """Trainings of toys measure the machine with toy matrices."""
    with contextlib.suppress(ModuleNotFoundError):
        from musicvae.train import device

        device.GEMM_SIZE["cpu"] = 64


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real music that lies beside the repository where it is developed."""
    if not SHARED.is_dir():
        pytest.skip(f"no real music at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def toy_songs() -> list[Score]:
    """Sixteen songs of 3 to 18 bars with three to six notes a bar; no key is struck while it sounds."""
    songs = []
    for seed in range(16):
        rng = np.random.default_rng([7, seed])
        bars = 3 + seed
        onset = np.concatenate([16 * b + rng.choice(16, rng.integers(3, 7), replace=False) for b in range(bars)])
        pitch = rng.integers(40, 90, len(onset))
        duration = np.minimum(rng.integers(1, 30, len(onset)), 16 * bars - onset)
        order = np.lexsort((onset, pitch))
        gap = np.where(np.diff(pitch[order]) == 0, np.diff(onset[order]), 999)
        duration[order[:-1]] = np.minimum(duration[order[:-1]], gap)
        songs.append(Score.of(onset, pitch, duration, rng.integers(30, 120, len(onset)), bars=bars, tempo=90 + seed))
    return songs


@pytest.fixture(scope="session")
def toy_music(toy_songs: list[Score], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the toy songs as MIDI files `0.mid`, `1.mid`, …"""
    folder = tmp_path_factory.mktemp("music")
    for i, song in enumerate(toy_songs):
        song.save(folder / f"{i}.mid")
    return folder


@pytest.fixture(scope="session")
def toy_data(toy_music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set prepared from the toy songs."""
    from musicvae.data.prepare import prepare

    out = tmp_path_factory.mktemp("prepared") / "data"
    prepare([toy_music], out, workers=1)
    return out


@pytest.fixture(scope="session")
def toy_band(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 songs of 4 to 27 bars as MIDI files `00.mid`, …: piano, one or two melodies, bass and drums."""
    folder = tmp_path_factory.mktemp("band")
    for seed in range(24):
        write_tracks(folder / f"{seed:02}.mid", band(seed))
    return folder


@pytest.fixture(scope="session")
def toy_band_data(toy_band: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set prepared from `toy_band`."""
    from musicvae.data.prepare import prepare

    out = tmp_path_factory.mktemp("prepared") / "band"
    prepare([toy_band], out, workers=1)
    return out


def toy(
    encoder: str = "hierarchical",
    bars: int = 2,
    *,
    kind: str = "piano",
    decoder: str = "hierarchical",
    first_input: str = "start",
    embedding: int = 8,
    head_hidden: int = 8,
    roll: int = 0,
    key: str = "own",
    z: int = 6,
    **train: object,
) -> Config:
    return Config(
        codec=CodecConfig(kind=kind, max_notes=8),  # type: ignore[arg-type]
        model=ModelConfig(
            bars=bars,
            z=z,
            roll=roll,
            key=key,  # type: ignore[arg-type]
            encoder=encoder,  # type: ignore[arg-type]
            decoder=decoder,  # type: ignore[arg-type]
            first_input=first_input,  # type: ignore[arg-type]
            embedding=embedding,
            bar_hidden=(6, 4),
            encoder_hidden=(7,),
            conductor_hidden=(5, 6),
            decoder_hidden=(9, 8),
            head_hidden=head_hidden,
        ),
        loss=LossConfig(free_bits=2),
        train=TrainConfig(**{"batch": 8, "epochs": 2, "warmup": 2, "validation_clips": 8, **train}),  # type: ignore[arg-type]
    )


@pytest.fixture(scope="session")
def toy_config() -> Callable[..., Config]:
    """Settings of a network of some thousand weights: `toy_config(encoder, bars, kind=…, decoder=…, **train)`."""
    return toy


@pytest.fixture(scope="session")
def toy_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of an exported random network: `toy_bundle(encoder, bars, kind=…, decoder=…)`; made once a session."""
    made: dict[str, Path] = {}

    def bundle(encoder: str = "hierarchical", bars: int = 2, **structure: Any) -> Path:
        key = "-".join(map(str, (encoder, bars, *itertools.chain(*sorted(structure.items())))))
        if key not in made:
            import torch

            from musicvae.codecs import codec
            from musicvae.model import music_vae
            from musicvae.runtime.export import write_bundle

            config = toy(encoder, bars, **structure)
            spec = codec(config.codec).spec
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                network = music_vae(spec, config.model)
            with torch.no_grad():
                for name, parameter in network.named_parameters():  # a fresh network hears little of z
                    if not name.startswith(("conductor.cells", "conductor.direct")) and ".hints." not in name:
                        parameter.mul_(4)
                if spec.end is not None:
                    network.decoders[0].heads.out[0].bias[-1] -= 4  # fewer ends
            made[key] = tmp_path_factory.mktemp("bundle") / key
            write_bundle(network, config, made[key], name="toy", trained={"steps": 0})
        return made[key]

    return bundle


# --------------------------------------------------------------------------------------------- pages in a browser
@pytest.fixture(scope="session")
def serving() -> Callable[..., contextlib.AbstractContextManager[str]]:
    """Serve an application on a port of its own: `with serving(app, **settings of uvicorn) as address`."""

    @contextlib.contextmanager
    def serve(app: Any, **settings: Any) -> Iterator[str]:
        import uvicorn

        with socket.create_server(("127.0.0.1", 0)) as listening:
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on", ws="none", **settings))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
            thread.start()
            while not server.started and thread.is_alive():
                time.sleep(0.01)
            try:
                yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
            finally:
                server.should_exit = True
                thread.join()

    return serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The system's Chromium."""
    library = pytest.importorskip("playwright.sync_api")
    from browser import CHROMIUM

    if CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    arguments = ["--autoplay-policy=no-user-gesture-required", "--mute-audio"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium's sandbox does not work for root
    with library.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="session")
def shots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go, to be looked at: the folder that MUSICVAE_SHOTS names. No test depends on them."""
    named = os.environ.get("MUSICVAE_SHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("shots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
