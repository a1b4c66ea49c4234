"""What source text may not say, found in its syntax tree: for tests that read code, not run it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

REACHES_OUT = {  # modules that talk to a network, start programs, or unpickle
    "aiohttp", "asyncio.subprocess", "cloudpickle", "dill", "ftplib", "http", "httpx",
    "huggingface_hub", "joblib", "marshal", "multiprocessing", "pty", "requests", "runpy", "shelve",
    "smtplib", "socket", "socketserver", "ssl", "subprocess", "urllib", "urllib3", "webbrowser",
    "websockets",
}  # fmt: skip
HARMLESS = {"urllib.parse"}
RUNS_CODE = re.compile(
    r"eval|exec|compile|__import__|builtins\.\w+|importlib\.import_module"
    r"|os\.(system|popen|fork\w*|exec\w+|spawn\w+|posix_spawn\w*|startfile)"
    r"|_?pickle\.(load|loads|Unpickler)|torch\.hub\.\w+"
    r"|yaml\.(load|load_all|full_load\w*|unsafe_load\w*)"
)
CUDA = re.compile(r"cuda(:\d+)?")


def dangers(source: str) -> list[str]:
    """Lines that could reach a network, start a program or run what a file holds."""
    tree = ast.parse(source)
    known = _names(tree)
    return [
        f"line {node.lineno}: {problem}"
        for node in ast.walk(tree)
        for problem in (*_imports(node), *_calls(node, known), *_unpicklers(node, known))
    ]


def cuda_only(source: str) -> list[str]:
    """Lines that take the compute device for one of NVIDIA's."""
    tree = ast.parse(source)
    known = _names(tree)
    allowed = set(_among_others(tree))
    return [
        f"line {node.lineno}: {problem}"
        for node in ast.walk(tree)
        for problem in _assumptions(node, known, allowed)
    ]


def imported(node: ast.AST) -> list[str]:
    """Dotted names that an import statement may load; nothing for relative ones."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _names(tree: ast.AST) -> dict[str, str]:
    """What the names of a module stand for: `np` for numpy, `system` for os.system."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {a.asname or a.name.split(".")[0]: a.asname and a.name or a.name.split(".")[0]
                      for a in node.names}  # fmt: skip
        elif isinstance(node, ast.ImportFrom) and not node.level:
            known |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    return known


def _dotted(node: ast.AST, known: dict[str, str]) -> str:
    """`torch.cuda.amp` of an expression such as that; empty for others."""
    if isinstance(node, ast.Name):
        return known.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value, known)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _imports(node: ast.AST) -> Iterator[str]:
    for name in imported(node):
        starts = {name.split(".")[0], ".".join(name.split(".")[:2])}
        if starts & REACHES_OUT and not starts & HARMLESS:
            yield f"imports {name}"


def _calls(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    name = _dotted(node.func, known)
    options = {option.arg: option.value for option in node.keywords}
    if RUNS_CODE.fullmatch(name):
        yield f"calls {name}"
    if name == "torch.load" and not _is(options.get("weights_only"), True):
        yield "torch.load without weights_only=True"
    if "allow_pickle" in options and not _is(options["allow_pickle"], False):
        yield f"{name} with allow_pickle"
    if "trust_remote_code" in options:
        yield f"{name} with trust_remote_code"


def _is(node: ast.AST | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _unpicklers(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    """A subclass is fine if it answers every name itself."""
    if not isinstance(node, ast.ClassDef):
        return
    if not any(_dotted(base, known).endswith("pickle.Unpickler") for base in node.bases):
        return
    own = [part for part in node.body if getattr(part, "name", None) == "find_class"]
    asked = [n for part in own for n in ast.walk(part) if getattr(n, "attr", None) == "find_class"]
    if not own or asked:
        yield f"{node.name} unpickles what a file names"


def _among_others(tree: ast.AST) -> Iterator[int]:
    """Ids of strings in a list of devices that names MPS as well."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            values = [getattr(item, "value", None) for item in node.elts]
            if "mps" in values:
                yield from map(id, node.elts)


def _assumptions(node: ast.AST, known: dict[str, str], allowed: set[int]) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        if CUDA.fullmatch(node.value) and id(node) not in allowed:
            yield f"names the device {node.value!r} alone"
    elif isinstance(node, ast.Attribute) and _dotted(node, known) == "torch.cuda":
        yield "uses torch.cuda"
    elif any(name.startswith("torch.cuda") for name in imported(node)):
        yield "imports torch.cuda"
    elif isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute) and node.func.attr == "cuda":
            yield "calls .cuda()"
        if _dotted(node.func, known).endswith("autocast") and any(
            isinstance(value, ast.Constant) and isinstance(value.value, str)
            for value in (*node.args, *(option.value for option in node.keywords))
        ):
            yield "autocast of a device that is not asked for its type"
