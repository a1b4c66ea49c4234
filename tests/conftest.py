"""Fixtures of all tests, and how many threads they take."""

import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, which share the processor
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    """A folder with a tiny random set of every variant."""
    from echomimic.weights.random_weights import make_random

    folder = tmp_path_factory.mktemp("models")
    make_random(folder, "tiny", dtype="float32")
    return folder
