"""Fixtures of all tests."""

import pytest


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A folder with a tiny random set of every variant."""
    from echomimic.weights.random_weights import make_random

    folder = tmp_path_factory.mktemp("models")
    make_random(folder, "tiny", dtype="float32")
    return folder
