"""The server's parts together, without a network: real workers, real small models, real requests."""

from pathlib import Path

import pytest

import hosting


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small checkpoints, see hosting.write_models."""
    return hosting.write_models(tmp_path_factory.mktemp("models"))
