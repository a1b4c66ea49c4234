"""A real ComfyUI server in a process of its own, driven as its web page drives it."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.request import urlopen

import av

START_TIMEOUT = 180  # seconds
MUTED = 2  # the mode of a node that is switched off
RUN_TIMEOUT = 300
MINI = "mini (built in)"
MINI_LOADER, MINI_SAMPLER, MINI_DECODER = "1", "7", "8"  # ids in `mini_graph`
LONG = "9"  # in `long_graph`
MINI_CLIP = {
    "model": (MINI_LOADER, 0),
    "reference_unet": (MINI_LOADER, 1),
    "landmark_encoder": (MINI_LOADER, 2),
    "vae": (MINI_LOADER, 3),
    "portrait": ("5", 0),
    "audio_track": ("4", 0),
}
STOCK_SEED = 23
EXAMPLES = ("EchoMimicExampleInputs", "EchoMimicPuppet", "CreateVideo")  # your own take their place
ADDS_A_WIDGET = ("control_after_generate", "image_upload", "video_upload")


@dataclass
class Run:
    """What the server said about one queued graph."""

    prompt_id: str
    events: list[dict] = field(default_factory=list)
    pictures: list[tuple[str | None, bytes]] = field(default_factory=list)  # node at work, preview
    outputs: dict = field(default_factory=dict)

    @property
    def previews(self) -> int:
        return len(self.pictures)

    def at_work(self) -> str | None:
        """The node that was begun last."""
        begun = (e["data"].get("node") for e in self.events if e["type"] == "executing")
        return next(iter([*begun][::-1]), None)

    def names(self) -> list[str]:
        return [event["type"] for event in self.events]

    def executed(self) -> set[str]:
        """Ids of the nodes that ran, rather than being served from the cache."""
        nodes = (e["data"].get("node") for e in self.events if e["type"] == "executing")
        return {node for node in nodes if node is not None}

    def error(self) -> str | None:
        for event in self.events:
            if event["type"] == "execution_error":
                return event["data"]["exception_message"].strip()
        return None


def _own_page() -> list[str]:
    """The option for a page other than the installed one, if a folder with it is named."""
    folder = os.environ.get("COMFYUI_PAGE")
    return ["--front-end-root", folder] if folder else []


class Server:
    """ComfyUI with only our pack, on a free port, with folders of its own."""

    def __init__(self, comfyui: Path, base: Path, pack: Path, *options: str) -> None:
        self.base = base
        for folder in ("custom_nodes", "input", "output", "temp", "user/default", "models"):
            (base / folder).mkdir(parents=True, exist_ok=True)
        (base / "custom_nodes/echomimic-nodes").symlink_to(pack)
        (base / "user/default/comfy.settings.json").write_text('{"Comfy.TutorialCompleted": true}')
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = base / "server.log"
        self._command = [
            sys.executable, "main.py", "--cpu", "--port", str(self.port),
            "--base-directory", str(base), "--disable-auto-launch", "--disable-api-nodes",
            "--database-url", f"sqlite:///{base}/user/comfyui.db",
            "--preview-method", "latent2rgb", *_own_page(), *options,
        ]  # fmt: skip
        self._comfyui = comfyui
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "Server":
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._comfyui, stdout=log, stderr=subprocess.STDOUT,
                env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def kill(self) -> None:
        """End the process without a chance to tidy up; enter again to start anew."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return urlopen(f"{self.url}/system_stats", timeout=1).status == 200
        except OSError:
            return False

    def get(self, path: str) -> dict:
        with urlopen(f"{self.url}{path}") as reply:
            return json.load(reply)

    def run(self, graph: dict, *, cancel_at: str | None = None, extra: dict | None = None) -> Run:
        """Queue an API-format graph and wait for its end.

        `cancel_at` is a node id: the run is interrupted as soon as that node shows progress.
        `extra` is what the web page sends along, such as the workflow.
        """
        running = self._run(graph, cancel_at, extra or {})
        return asyncio.run(asyncio.wait_for(running, RUN_TIMEOUT))

    async def _run(self, graph: dict, cancel_at: str | None, extra: dict) -> Run:
        import aiohttp

        client = uuid.uuid4().hex
        socket_url = f"{self.url}/ws?clientId={client}"
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(socket_url, max_msg_size=0) as messages,
        ):
            queued = {"prompt": graph, "client_id": client, "extra_data": extra}
            reply = await http.post(f"{self.url}/prompt", json=queued)
            answer = await reply.json()
            assert not answer.get("node_errors"), answer
            run = Run(answer["prompt_id"])
            async for message in messages:
                if message.type == aiohttp.WSMsgType.BINARY:
                    run.pictures.append((run.at_work(), message.data[8:]))  # after its two kinds
                    continue
                event = message.json()
                run.events.append(event)
                if _shows_progress(event, cancel_at):
                    cancel_at = None
                    await http.post(f"{self.url}/interrupt")
                if _is_end(event, run.prompt_id):
                    break
            run.outputs = await self._outputs(http, run.prompt_id)
            return run

    async def _outputs(self, http, prompt_id: str) -> dict:
        for _ in range(50):  # the entry can appear a moment after the last message
            history = await (await http.get(f"{self.url}/history/{prompt_id}")).json()
            if prompt_id in history:
                return history[prompt_id]["outputs"]
            await asyncio.sleep(0.1)
        return {}

    def file(self, run: Run, node: str) -> Path:
        """The file that an output node showed."""
        shown = next(iter(value for value in run.outputs[node].values() if value))[0]
        return self.base / shown["type"] / shown["subfolder"] / shown["filename"]


def api_graph(workflow: dict, node_info: dict, *, muted: bool = False) -> dict:
    """An API-format graph from a file of the user interface, as the web page converts it.

    With `muted`, nodes that are switched off are in it too.
    """
    links = {link[0]: (str(link[1]), link[2]) for link in workflow["links"]}
    graph = {}
    for node in workflow["nodes"]:
        if node["type"] in ("Note", "MarkdownNote") or (node["mode"] == MUTED and not muted):
            continue
        linked = {
            socket["name"]: list(links[socket["link"]])
            for socket in node.get("inputs", [])
            if socket.get("link") is not None
        }
        widgets = _widget_values(node, node_info[node["type"]])
        graph[str(node["id"])] = {"class_type": node["type"], "inputs": widgets | linked}
    return graph


def complete_node(node_info: dict, kind: str, **inputs) -> dict:
    """A node in API format, with defaults for what is not given."""
    known = node_info[kind]["input"]
    specs = known.get("required", {}) | known.get("optional", {})
    defaults = {name: spec[1]["default"] for name, spec in specs.items()
                if len(spec) > 1 and "default" in spec[1]}  # fmt: skip
    return {"class_type": kind, "inputs": defaults | inputs}


def mini_graph(node_info: dict, *, length: int, steps: int) -> dict:
    """A graph in API format that needs no file: a puppet animated by the built-in model."""
    node = partial(complete_node, node_info)
    graph = {
        MINI_LOADER: node("EchoMimicModelLoader", model=MINI),
        "2": node("EchoMimicAudioEncoderLoader", audio_encoder=MINI),
        "3": node("EchoMimicPuppet", length=length),
        "4": node("EchoMimicAudioEncode", audio_encoder=("2", 0), audio=("3", 2), fps=25.0),
        "5": node("EchoMimicPortrait", image=("3", 0), face_box=("3", 1), width=128, height=128),
        MINI_SAMPLER: node("EchoMimicSampler", **MINI_CLIP, steps=steps),
        MINI_DECODER: node(
            "EchoMimicDecodeVideo", latent=(MINI_SAMPLER, 0), vae=(MINI_LOADER, 3), fps=25.0
        ),
    }
    return json.loads(json.dumps(graph))  # links are lists


def long_graph(node_info: dict, *, length: int, steps: int, **choices: object) -> dict:
    """The clip of `mini_graph` by EchoMimic Long Render, which is node `LONG`."""
    graph = mini_graph(node_info, length=length, steps=steps)
    sampler, decoder = graph.pop(MINI_SAMPLER)["inputs"], graph.pop(MINI_DECODER)["inputs"]
    known = node_info["EchoMimicLongRender"]["input"]
    wanted = known["required"] | known["optional"]
    inputs = sampler | decoder | {"audio": ["4", 1]} | choices
    inputs = {name: value for name, value in inputs.items() if name in wanted}
    return graph | {LONG: {"class_type": "EchoMimicLongRender", "inputs": inputs}}


def both_samplers_graph(node_info: dict, *, length: int, steps: int) -> dict:
    """The clip of `mini_graph` by our sampler and by KSampler ("stock"), kept as latents."""
    node = partial(complete_node, node_info)
    graph = mini_graph(node_info, length=length, steps=steps)
    del graph[MINI_DECODER]
    clip, sampling = ("clip", 0), {"sampler_name": "euler", "scheduler": "simple"}
    graph |= {
        "windows": node("EchoMimicContextWindows", model=(MINI_LOADER, 0)),
        "clip": node("EchoMimicConditioning", **MINI_CLIP),
        "stock": node(
            "KSampler", model=("windows", 0), positive=clip, negative=("clip", 1),
            latent_image=("clip", 2), steps=steps, seed=STOCK_SEED, cfg=1.5, **sampling,
        ),
        "ours kept": node("SaveLatent", samples=(MINI_SAMPLER, 0), filename_prefix="ours"),
        "stock kept": node("SaveLatent", samples=("stock", 0), filename_prefix="stock"),
    }  # fmt: skip
    return json.loads(json.dumps(graph))


def own_files_graph(workflow: dict, node_info: dict) -> dict:
    """The graph after doing what the note *Your own files* says, except for choosing models."""
    graph = api_graph(workflow, node_info, muted=True)
    sound = "LoadAudio" if ids(graph, "LoadAudio") else "LoadVideo"
    own = {
        "portrait": ("LoadImage", 0),
        "audio": (sound, 0),
        "landmarks": ("EchoMimicMotionSync", 0),
        "fps": ("EchoMimicLandmarkExtract", 1),
        "VIDEO": ("LoadVideo", 0),
    }
    examples = ids(graph, *EXAMPLES)
    own_nodes = {id_: node for id_, node in graph.items() if id_ not in examples}
    for node in own_nodes.values():
        for name, value in [*node["inputs"].items()]:
            if not isinstance(value, list) or value[0] not in examples:
                continue
            given = node_info[graph[value[0]]["class_type"]]["output_name"][value[1]]
            if given == "face_box":
                del node["inputs"][name]  # the face is looked for
            else:
                kind, output = own[given]
                node["inputs"][name] = [*ids(graph, kind), output]
    return own_nodes


def _widget_values(node: dict, info: dict) -> dict:
    values = list(node.get("widgets_values", []))
    named, optional = {}, info["input"].get("optional", {})
    for name, (kind, *more) in {**info["input"].get("required", {}), **optional}.items():
        options = more[0] if more else {}
        is_widget = isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
        if not is_widget or options.get("forceInput"):
            continue
        if not values and name in optional:
            continue  # of a newer ComfyUI than the file was made with
        named[name] = values.pop(0)
        if any(options.get(name) for name in ADDS_A_WIDGET):
            values.pop(0)
        if options.get("audio_upload") and values:  # its player and its upload button
            del values[:2]
    assert not values, f"{node['type']} has {len(values)} widget values too many: {values}"
    return named


def of_type(graph: dict, kind: str) -> dict:
    """The inputs of the only node of a kind."""
    (node,) = (node for node in graph.values() if node["class_type"] == kind)
    return node["inputs"]


def ids(graph: dict, *kinds: str) -> set[str]:
    return {name for name, node in graph.items() if node["class_type"] in kinds}


def look_at(path) -> dict:
    """Codec, pixel format, size, rate, frames and sound of a video file."""
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        sound = sum(frame.samples for frame in container.decode(audio)) / audio.rate
        container.seek(0)
        return {
            "codecs": (video.codec.name, audio.codec.name),
            "pixels": video.pix_fmt,
            "size": (video.width, video.height),
            "rate": float(video.average_rate),
            "frames": sum(1 for _ in container.decode(video)),
            "sound": sound,
        }


def _shows_progress(event: dict, node: str | None) -> bool:
    return node is not None and event["type"] == "progress" and event["data"]["node"] == node


def _is_end(event: dict, prompt_id: str) -> bool:
    if event["type"] in ("execution_error", "execution_interrupted", "execution_success"):
        return event["data"]["prompt_id"] == prompt_id
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
