"""The pack's templates in a real page of ComfyUI: opened, run, and looked at."""

import json

import pytest
from comfy_server import MUTED
from page import RENDERERS, see
from PIL import Image
from support import ROOT

TEMPLATES = "/api/workflow_templates/echomimic-nodes"
WORKFLOWS = {
    path.stem: json.loads(path.read_text()) for path in (ROOT / "workflows").glob("*.json")
}
CHINESE = json.loads((ROOT / "locales/zh/nodeDefs.json").read_text())
NO_FILE_CHOSEN = "400 (Bad Request)"  # of ComfyUI's own audio player, which asks for it anyway
DEFAULT_GRAPH = "huggingface.co/Comfy-Org/"  # the page looks for the models of ComfyUI's own graph
OF_COMFYUI = (NO_FILE_CHOSEN, DEFAULT_GRAPH)
SHOW_VIDEO = ("EchoMimicDecodeVideo", "EchoMimicPasteBack", "EchoMimicLongRender")
SAMPLERS = ("EchoMimicSampler", "EchoMimicLongRender", "KSampler")
FRAMES, SIDE = 12, 128
LACKS = "denoising_unet_pose.pth"  # of the models that the templates name
PICTURE_COLOURS = 3000  # in a screenshot of a video; the player's controls alone have some hundred


def of_kind(workflow: dict, *kinds: str) -> dict:
    """The only node of these kinds in a file of the user interface."""
    (node,) = (node for node in workflow["nodes"] if node["type"] in kinds)
    return node


def short_run(workflow: dict, seed: int) -> dict:
    """The node that shows the video, and the values that make it quick to make."""
    values = {of_kind(workflow, *SAMPLERS)["id"]: {"steps": 1, "seed": seed}}
    for node in workflow["nodes"]:
        if node["type"] == "EchoMimicAudioEncode":
            values[node["id"]] = {"length": FRAMES}
    return {"values": values, "last": of_kind(workflow, *SHOW_VIDEO)["id"]}


@pytest.fixture(scope="module", params=RENDERERS)
def opened(request, browser, server, tmp_path_factory) -> dict:
    """What was seen while the templates were opened and run."""
    seed = RENDERERS.index(request.param)  # another for each: nothing may come from the cache
    runs = {n: short_run(w, seed) for n, w in WORKFLOWS.items()}
    pictures = tmp_path_factory.mktemp(request.param)
    setup = {"templates": TEMPLATES, "names": list(WORKFLOWS), "changes": runs}
    script = "workflows.mjs"
    seen = see(browser, server.url, script, request.param, pictures=str(pictures), **setup)
    return seen | {"pictures": pictures}


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_opens_without_complaint_and_every_value_in_its_place(opened, name):
    seen = opened["opened"][name]
    assert [said for said in seen["complaints"] if not any(x in said for x in OF_COMFYUI)] == []
    assert opened["pageErrors"] == opened["missing"] == []
    ours = [node for node in WORKFLOWS[name]["nodes"] if node["type"].startswith("EchoMimic")]
    for node in (node for node in ours if node["mode"] != MUTED):
        queued = seen["queued"][str(node["id"])]["inputs"]
        values = {k: v for k, v in queued.items() if not isinstance(v, list)}
        assert values.items() <= node.get("widgets_values_named", {}).items(), node["type"]


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_finishes_and_its_video_is_seen_on_the_page(opened, name):
    run = opened["opened"][name]["run"]
    assert run["ended"] == "execution_success"
    assert run["size"] == [SIDE, SIDE]
    assert colours_in(opened["pictures"] / f"{name}.png", run["box"]) > PICTURE_COLOURS


@pytest.mark.parametrize("name", WORKFLOWS)
def test_list_of_templates_shows_the_picture_of_the_workflow(opened, name):
    with Image.open(ROOT / f"workflows/{name}.jpg") as picture:
        size = list(picture.size)
    expected = {"status": 200, "type": "image/jpeg", "size": size}
    assert opened["listed"][name] == expected


def test_click_on_a_card_opens_its_workflow(opened):
    first = next(iter(WORKFLOWS.values()))
    assert opened["clicked"] == sorted(node["type"] for node in first["nodes"])


@pytest.mark.parametrize("renderer", RENDERERS)
def test_page_names_file_and_folder_that_a_workflow_lacks(browser, server, renderer, tmp_path):
    workflow = json.loads(json.dumps(WORKFLOWS["landmark"]))
    of_kind(workflow, "EchoMimicModelLoader")["widgets_values"][0] = LACKS
    setup = {"workflow": workflow, "picture": str(tmp_path / "lacks.png")}
    seen = see(browser, server.url, "missing_file.mjs", renderer, **setup)
    assert {LACKS, "echo_mimic"} <= set(seen["said"].lower().split("\n"))
    assert seen["pageErrors"] == seen["missing"] == []


def test_chinese_page_has_chinese_nodes(browser, server, tmp_path):
    workflow = WORKFLOWS["audio"]
    setup = {"workflow": workflow, "picture": str(tmp_path / "zh.png"), "locale": "zh"}
    seen = see(browser, server.url, "chinese.mjs", "vue", **setup)  # it writes text, not pixels
    ours = {node["type"] for node in workflow["nodes"] if node["type"] in CHINESE}
    assert len(ours) > 5
    assert {CHINESE[kind]["display_name"] for kind in ours} <= set(seen["titles"])
    sampler = CHINESE["EchoMimicSampler"]["inputs"]
    assert {sampler[name]["name"] for name in ("seed", "steps", "windows")} <= set(seen["labels"])
    assert seen["pageErrors"] == seen["missing"] == []


def colours_in(picture, box: dict) -> int:
    """How many different colours a part of a picture has."""
    left, top = box["x"], box["y"]
    with Image.open(picture) as page:
        part = page.convert("RGB").crop((left, top, left + box["width"], top + box["height"]))
        return len(part.getcolors(1 << 24))
