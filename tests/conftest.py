from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("musicvae", deadline=None, print_blob=True)  # a busy machine is not a failure
settings.load_profile("musicvae")

SHARED = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real music that lies beside the repository where it is developed."""
    if not SHARED.is_dir():
        pytest.skip(f"no real music at {SHARED}")
    return SHARED
