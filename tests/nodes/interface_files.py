"""Files about the nodes that follow from their schemas: locales, tables of help pages, a snapshot.

    COMFYUI_PATH=~/comfy/ComfyUI python tests/nodes/interface_files.py

writes them anew; `test_interface_files.py` compares. What people write is kept: the text of the
pages above the tables, and `locales/zh`, whose missing entries are only named.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SNAPSHOT = Path(__file__).parent / "schemas.json"
LOCALES = ROOT / "locales"
PAGES = ROOT / "js/docs"
LANGUAGES = ("en", "zh")
START, END = "<!-- made from the schema: start -->", "<!-- made from the schema: end -->"
WORDS = {
    "en": {
        "inputs": "Inputs", "outputs": "Outputs", "name": "Name", "type": "Type",
        "text": "What it is", "optional": "optional", "default": "default", "to": "to",
    },
    "zh": {
        "inputs": "输入", "outputs": "输出", "name": "名称", "type": "类型",
        "text": "说明", "optional": "可选", "default": "默认", "to": "到",
    },
}  # fmt: skip
FROM_FOLDERS = {
    "model",
    "audio_encoder",
    "file",
    "syncnet",
}  # combos that list what is on the machine


def schemas(pack: dict) -> dict:
    """Node id → schema, of node classes by id."""
    return {name: node.GET_SCHEMA() for name, node in pack.items()}


def snapshot(found: dict) -> dict:
    """What saved workflows rely on: ids, their order, types, defaults, choices."""
    return {
        name: {
            "inputs": [_input(item) for item in schema.inputs],
            "outputs": [[output.display_name, output.get_io_type()] for output in schema.outputs],
            "is_output_node": bool(schema.is_output_node),
        }
        for name, schema in sorted(found.items())
    }


def _input(item) -> dict:
    facts = {"id": item.id, "type": item.get_io_type(), "optional": bool(item.optional)}
    if item.id not in FROM_FOLDERS:
        for fact in ("default", "min", "max", "options"):
            value = getattr(item, fact, None)
            if value is not None:
                facts[fact] = value
    return facts


def english(found: dict) -> dict:
    """`locales/en/nodeDefs.json`."""
    return {
        name: {"display_name": schema.display_name, "description": schema.description}
        | _entries("inputs", {item.id: (item.id, item.tooltip) for item in schema.inputs})
        | _entries(
            "outputs",
            {str(i): (o.display_name, o.tooltip) for i, o in enumerate(schema.outputs)},
        )
        for name, schema in sorted(found.items())
    }


def _entries(kind: str, texts: dict) -> dict:
    entries = {
        key: {"name": name} | ({"tooltip": tooltip} if tooltip else {})
        for key, (name, tooltip) in texts.items()
    }
    return {kind: entries} if entries else {}


def tables(schema, texts: dict, language: str) -> str:
    """The part of a help page that follows from the schema, in a language of `LANGUAGES`."""
    words, lines = WORDS[language], [START]
    if schema.inputs:
        lines += _head(words, "inputs")
        lines += [_input_row(i, texts["inputs"][i.id], words) for i in schema.inputs]
    if schema.outputs:
        lines += _head(words, "outputs")
        for number, output in enumerate(schema.outputs):
            text = texts["outputs"][str(number)]
            lines.append(_row(_name(output.display_name, text), _types(output), text))
    return "\n".join([*lines, "", END])


def _head(words: dict, kind: str) -> list[str]:
    columns = f"| {words['name']} | {words['type']} | {words['text']} |"
    return ["", f"## {words[kind]}", "", columns, "|---|---|---|"]


def _input_row(item, text: dict, words: dict) -> str:
    kind = [_types(item)]
    if item.id not in FROM_FOLDERS:
        kind += _range(item, words)
        default = getattr(item, "default", None)
        if default not in (None, ""):
            kind.append(f"{words['default']} {default}")
    if item.optional:
        kind.append(words["optional"])
    return _row(_name(item.id, text), ", ".join(kind), text)


def _name(own: str, text: dict) -> str:
    return f"`{own}`" if text["name"] == own else f"`{own}` {text['name']}"


def _row(name: str, kind: str, text: dict) -> str:
    return f"| {name} | {kind} | {text.get('tooltip', '').replace('|', ' ')} |"


def _types(item) -> str:
    return item.get_io_type().replace("ECHOMIMIC_", "").replace(",", ", ")


def _range(item, words: dict) -> list[str]:
    options = getattr(item, "options", None)
    if options:
        return [" · ".join(map(str, options))]
    low, high = getattr(item, "min", None), getattr(item, "max", None)
    return [] if low is None or high is None else [f"{low} {words['to']} {high}"]


def page(name: str, language: str) -> Path:
    """Where the help page of a node is, as ComfyUI asks for it."""
    return PAGES / name / f"{language}.md"


def with_tables(text: str, made: str) -> str:
    """A page's text with its tables replaced, or put at its end."""
    before, _, rest = text.partition(START)
    return f"{before.rstrip()}\n\n{made}{rest.partition(END)[2] or chr(10)}"


def read_locale(language: str, name: str = "nodeDefs") -> dict:
    return json.loads((LOCALES / language / f"{name}.json").read_text(encoding="utf-8"))


def load_pack(comfyui: Path) -> dict:
    """Our node classes by id, as ComfyUI's own loader makes them, in this process."""
    sys.path.insert(0, str(comfyui))  # before ours, else `import nodes` finds our folder
    from comfy.cli_args import args

    args.cpu = True  # before anything asks for a device
    import nodes

    assert asyncio.run(nodes.load_custom_node(str(ROOT), module_parent="custom_nodes"))
    return {name: node for name, node in nodes.NODE_CLASS_MAPPINGS.items() if "EchoMimic" in name}


def write_all(found: dict) -> None:
    """Write the snapshot, the English locale and the tables of all pages."""
    _write_json(SNAPSHOT, snapshot(found))
    _write_json(LOCALES / "en/nodeDefs.json", english(found))
    for language in LANGUAGES:
        texts = read_locale(language)
        for name, schema in found.items():
            path = page(name, language)
            if name not in texts or not path.is_file():
                sys.stderr.write(f"{name} has no page or no entry in locales/{language}.\n")
                continue
            text = with_tables(
                path.read_text(encoding="utf-8"), tables(schema, texts[name], language)
            )
            path.write_text(text, encoding="utf-8")


def _write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    comfyui = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    write_all(schemas(load_pack(comfyui)))
