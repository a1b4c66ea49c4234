"""The whole clip while it is made: its frames as they are so far, played by `js/preview.js`.

ComfyUI's own preview, one frame, is sent as well, for pages and programs without our script.
"""

from __future__ import annotations

import base64
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import comfy.latent_formats
import comfy.model_management
import latent_preview
import numpy as np
import torch
from comfy_execution.utils import get_executing_context
from PIL import Image
from torch import Tensor

from ..echomimic.models.latent_colours import colours_of, explained, fit_colours
from .runtime import Progress
from .vae import ComfyVAE

EVENT = "echomimic.preview"
MOST_FRAMES, MOST_DECODED = 120, 24  # of a clip that are shown; the second where each is decoded
TILE = 128  # pixels, the longer side of a frame in the message
EVERY = 0.5  # seconds between two messages
ENOUGH = 0.5  # of the portrait's variance, for ComfyUI's colours to be believed
QUALITY = 80  # of the JPEG

Draw = Callable[[Tensor], list[Image.Image]]  # latents (n, c, h, w) → pictures


class ClipPreview(Progress):
    """Progress of a clip that is sampled, with its pictures and the time that is left."""

    def __init__(self, draw: Draw | None, fps: float, most: int) -> None:
        super().__init__()
        self.draw, self._fps, self.most = draw, fps, most
        self._clock = Clock()

    def __call__(self, done: int, total: int) -> None:
        """A window is done."""
        super().__call__(done, total)
        self._clock.tell(done, total)
        if self._clock.is_time():
            send("sampling", seconds_left=self._clock.left, done=done, total=total)

    def on_step(self, _step: int, _latents: Tensor, clean: Tensor) -> None:
        """A step is done; `clean` (f, c, h, w) is what the clip would be."""
        self.show(clean, {})

    def show(self, clean: Tensor, before: Mapping[int, Image.Image], first: int = 0) -> None:
        """Frames from `first` on as they would be (f, c, h, w), after pictures of some `before`."""
        if self.draw is None:
            return
        chosen = evenly(len(clean), self.most - len(before))
        pictures = self.draw(clean[chosen])
        self.preview(("JPEG", pictures[0], latent_preview.MAX_PREVIEW_RESOLUTION))
        send(
            "sampling",
            seconds_left=self._clock.left,
            num_frames=first + len(clean),
            fps=self._fps,
            shown=[*before, *(first + number for number in chosen)],
            **sheet([*before.values(), *pictures]),
        )


class Clock:
    """How long it will still take, and when to say so."""

    def __init__(self) -> None:
        self._start = self._said = time.monotonic()
        self.left: float | None = None

    def tell(self, done: int, total: int) -> None:
        """So much is done; nothing starts the clock."""
        now = time.monotonic()
        if done == 0:
            self._start = now
        else:
            self.left = (now - self._start) * (total - done) / done

    def is_time(self) -> bool:
        """Whether a message is due; then the next is due later."""
        if time.monotonic() - self._said < EVERY:
            return False
        self._said = time.monotonic()
        return True


def clip_preview(vae: Any, picture: Tensor, fps: float) -> ClipPreview:
    """The preview of a clip whose portrait is `picture` (3, H, W) in -1..1, if they are wanted.

    Call it before the UNet needs the room: the VAE has to look at the portrait.
    """
    device = comfy.model_management.get_torch_device()
    previewer = latent_preview.get_previewer(device, comfy.latent_formats.SD15())
    if previewer is None:
        return ClipPreview(None, fps, 1)
    pictures = torch.stack([picture, -picture]).cpu()  # twice the colours
    latents = ComfyVAE(vae).encode(pictures).float().cpu()
    if explained(latents, pictures, _usual_colours()) < ENOUGH:
        colours = fit_colours(latents, pictures)
        return ClipPreview(lambda clean: _coloured(clean, colours), fps, MOST_FRAMES)
    is_network = not isinstance(previewer, latent_preview.Latent2RGBPreviewer)
    most = MOST_DECODED if is_network else MOST_FRAMES
    return ClipPreview(lambda clean: _by_comfyui(previewer, clean), fps, most)


def watched(chunks: Iterable[np.ndarray], num_frames: int, fps: float) -> Iterator[np.ndarray]:
    """Frames, uint8 (n, H, W, 3), as they are decoded; they show in the page while they pass."""
    wanted, shown, pictures = set(evenly(num_frames, MOST_FRAMES)), [], []
    clock, done = Clock(), 0
    for chunk in chunks:
        for frame in chunk:
            if done in wanted:
                shown.append(done)
                pictures.append(_small(Image.fromarray(frame)))
            done += 1
        if shown and clock.is_time():
            send("decoding", num_frames=num_frames, fps=fps, shown=[*shown], **sheet(pictures))
        yield chunk


def evenly(num_frames: int, most: int) -> list[int]:
    """At most `most` frames of a clip, spread evenly, the first and the last among them."""
    count = min(most, num_frames)
    return np.linspace(0, num_frames - 1, count).round().astype(int).tolist()


def sheet(pictures: Sequence[Image.Image]) -> dict[str, Any]:
    """Pictures of one size side by side and row by row, as a JPEG for a page."""
    width, height = pictures[0].size
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    image = Image.new("RGB", (columns * width, rows * height))
    for number, picture in enumerate(pictures):
        image.paste(picture, (number % columns * width, number // columns * height))
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    data = base64.b64encode(file.getvalue()).decode()
    return {"sheet": f"data:image/jpeg;base64,{data}", "columns": columns, "tile": [width, height]}


def send(stage: str, **facts: Any) -> None:
    """Tell the page that queued the graph, if there is one."""
    running = getattr(sys.modules.get("server"), "PromptServer", None)  # not in a program or a test
    server, context = getattr(running, "instance", None), get_executing_context()
    if server is None or context is None or server.client_id is None:
        return
    message = {"node": context.node_id, "prompt_id": context.prompt_id, "stage": stage} | facts
    server.send_sync(EVENT, message, server.client_id)


def _usual_colours() -> Tensor:
    """What ComfyUI knows of Stable Diffusion's latents, as a map (5, 3)."""
    known = comfy.latent_formats.SD15()
    bias = getattr(known, "latent_rgb_factors_bias", None) or [0.0, 0.0, 0.0]
    return torch.tensor([*known.latent_rgb_factors, bias])


def _coloured(clean: Tensor, colours: Tensor) -> list[Image.Image]:
    levels = ((colours_of(clean.cpu(), colours) + 1) * 127.5).round().to(torch.uint8)
    return [_small(Image.fromarray(level)) for level in levels.movedim(1, -1).numpy()]


def _by_comfyui(previewer: latent_preview.LatentPreviewer, clean: Tensor) -> list[Image.Image]:
    frames = clean.float().to(comfy.model_management.get_torch_device()).split(1)
    return [_small(previewer.decode_latent_to_preview_image("JPEG", f)[1]) for f in frames]


def _small(picture: Image.Image) -> Image.Image:
    picture.thumbnail((TILE, TILE))
    return picture
