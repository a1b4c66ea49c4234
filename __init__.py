"""EchoMimic for ComfyUI: registers the nodes and the files of the web interface."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./js"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
