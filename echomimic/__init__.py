"""EchoMimic: one portrait and a voice become a talking-head video (arXiv 2407.08136)."""

__version__ = "0.1.0"
