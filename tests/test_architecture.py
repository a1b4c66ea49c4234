"""Layers: data flows one way, ComfyUI stays outside the library, importing costs nothing."""

import ast
import subprocess
import sys

import pytest
from support import ROOT

PACKAGE = ROOT / "echomimic"
LAYERS = (  # each imports only from those before it
    "errors",
    "files",
    "config",
    "assets",
    "media",
    "models",
    "audio",
    "landmarks",
    "motion",
    "sampling",
    "weights",
    "conditions",
    "frame_memory",
    "frame_conditions",
    "denoiser",
    "fingerprint",
    "render_folder",
    "segments",
    "driving",
    "report",
    "pipeline",
    "puppets",
    "train",
    "evaluation",
    "prepare",
    "quality",
    "quality_table",
    "demo",
    "bench_landmarks",
    "bench",
    "plan_needs",
    "plan_change",
    "plan",
    "plan_text",
    "cli_options",
    "cli_progress",
    "cli_info",
    "cli_landmarks",
    "cli_plan",
    "cli_prepare",
    "cli_report",
    "cli_evaluate",
    "cli_train",
    "cli",
)
COMFYUI = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "folder_paths",
    "nodes",
    "server",
}
LAZY = {"mediapipe", "matplotlib", "cv2", "tensorboard"}
SOURCES = sorted(PACKAGE.rglob("*.py"))
CORE = [path for path in SOURCES if path.parent != PACKAGE or path.name[:2] != "__"]


def name(path):
    return str(path.relative_to(ROOT))


def layer(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path):
    """Absolute dotted names of everything `path` imports, relative imports resolved."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            if node.module:
                yield ".".join((*base, node.module))
            else:
                yield from (".".join((*base, alias.name)) for alias in node.names)


@pytest.mark.parametrize("path", CORE, ids=name)
def test_a_layer_imports_only_from_earlier_layers(path):
    assert layer(path) in LAYERS, f"{name(path)} belongs to no layer: add it to LAYERS"
    used = {module.split(".")[1] for module in imports(path) if module.startswith("echomimic.")}
    too_late = [
        other for other in used & {*LAYERS} if LAYERS.index(other) > LAYERS.index(layer(path))
    ]
    assert not too_late, f"{name(path)} imports from later layers: {too_late}"


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_the_library_does_not_know_comfyui(path):
    assert not {module.split(".")[0] for module in imports(path)} & COMFYUI


@pytest.mark.parametrize(
    "path", [*SOURCES, *sorted((ROOT / "nodes").rglob("*.py")), ROOT / "__init__.py"], ids=name
)
def test_imports_within_the_pack_are_relative(path):
    """ComfyUI loads the pack under its folder's path, where `import echomimic` finds nothing."""
    absolute = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if (
            isinstance(node, ast.Import) and any(a.name.startswith("echomimic") for a in node.names)
        )
        or (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and node.module.startswith("echomimic")
        )
    ]
    assert not absolute


def loaded_after(statement):
    """Top-level modules that a fresh interpreter holds after `statement`."""
    code = f"{statement}; import sys; sys.stdout.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {module.split(".")[0] for module in done.stdout.split()}


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"torch", "diffusers", "transformers", "huggingface_hub", "requests", "av", "PIL"}
    unasked = loaded_after("import echomimic") & (heavy | LAZY)
    assert not unasked


def test_optional_libraries_are_imported_where_they_are_used():
    modules = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in CORE]
    modules = [module.removesuffix(".__init__") for module in modules]
    unasked = loaded_after(f"import {', '.join(modules)}") & LAZY
    assert not unasked
