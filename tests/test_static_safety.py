"""What runs inside ComfyUI: no network, no programs, nothing executed from files, any device."""

import ast
import re

import pytest
from static_rules import cuda_only, dangers
from support import ROOT

NODES = [ROOT / "__init__.py", *sorted((ROOT / "nodes").rglob("*.py"))]
LIBRARY = sorted((ROOT / "echomimic").rglob("*.py"))
SCRIPTS = sorted((ROOT / "js").rglob("*.js"))


def name(path):
    return str(path.relative_to(ROOT))


def used_by(path):
    """Files of the project that `path` imports, wherever in it that is written."""
    folder = path.parent
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = folder.joinpath(*[".."] * (node.level - 1)).resolve()
            base = base.joinpath(*(node.module or "").split(".")) if node.module else base
            for target in (base, *(base / alias.name for alias in node.names)):
                found = (target.with_suffix(".py"), target / "__init__.py")
                yield from (file for file in found if file.is_file())


def inside_comfyui():
    """All that ComfyUI may import because of our nodes."""
    reached, waiting = set(), [*NODES]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += used_by(path)
    return sorted(reached)


INSIDE = inside_comfyui()


def test_what_the_nodes_import_is_followed_into_the_library():
    reached = set(map(name, INSIDE))
    assert {
        "nodes/sample.py",
        "echomimic/weights/load.py",  # from ..echomimic.weights import load
        "echomimic/weights/read.py",
        "echomimic/landmarks/array_pickle.py",
        "echomimic/models/unet.py",
    } <= reached
    assert not {"echomimic/weights/download.py", "echomimic/cli.py"} & reached


@pytest.mark.parametrize("path", INSIDE, ids=name)
def test_nothing_inside_comfyui_reaches_out_or_runs_what_a_file_holds(path):
    assert not dangers(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess",
        "def f():\n    import socket",
        "from urllib.request import urlopen",
        "from huggingface_hub import hf_hub_download",
        "import os\nos.system('x')",
        "from os import system as run\nrun('x')",
        "eval('1')",
        "exec('1')",
        "import pickle\npickle.load(file)",
        "from pickle import loads\nloads(data)",
        "import pickle\npickle.Unpickler(file).load()",
        "import pickle\nclass U(pickle.Unpickler):\n    pass",
        "import pickle\nclass U(pickle.Unpickler):\n"
        "    def find_class(self, m, n):\n        return super().find_class(m, n)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import torch as t\nt.load(path, weights_only=flag)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import yaml\nyaml.load(text, Loader=yaml.Loader)",
    ],
)
def test_what_would_be_dangerous_is_found(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source",
    [
        "import re\nre.compile('x')",
        "network.eval()",
        "from urllib.parse import quote",
        "import torch\ntorch.load(path, weights_only=True)",
        "import pickle\nclass U(pickle.Unpickler):\n"
        "    def find_class(self, m, n):\n        return KNOWN[m, n]",
    ],
)
def test_what_is_harmless_is_not_found(source):
    assert not dangers(source)


@pytest.mark.parametrize("path", NODES, ids=name)
def test_the_server_gets_no_routes_from_us(path):
    """A route that is added must check everything it is sent, and be tested here."""
    routes = [
        n for n in ast.walk(ast.parse(path.read_text())) if getattr(n, "attr", "") == "routes"
    ]
    assert not routes


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_the_page_loads_nothing_from_elsewhere_and_runs_no_text(path):
    text = path.read_text()
    hosts = set(re.findall(r"https?://([\w.-]+)", text)) - {"www.w3.org"}  # the names of SVG
    assert not hosts
    assert not re.findall(r"\beval\(|new Function|innerHTML|outerHTML|document\.write", text)


@pytest.mark.parametrize("path", [*NODES, *LIBRARY], ids=name)
def test_no_code_takes_the_device_for_nvidias(path):
    assert not cuda_only(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "model.cuda()",
        "if device.type == 'cuda': pass",
        "x.to(device='cuda:0')",
        "import torch\ntorch.cuda.empty_cache()",
        "from torch.cuda.amp import autocast",
        "import torch\ntorch.autocast('cuda', dtype)",
        "import torch\ntorch.amp.autocast(device_type='cpu')",
    ],
)
def test_what_only_cuda_can_is_found(source):
    assert cuda_only(source)


def test_a_list_of_devices_and_the_devices_own_type_are_fine():
    assert not cuda_only("half = device.type in ('cuda', 'mps', 'xpu')")
    assert not cuda_only("import torch\ntorch.autocast(device.type, torch.bfloat16)")
