"""The files in workflows/ say which model files they can use, and have a picture."""

import json

import pytest
from PIL import Image
from support import ROOT

from echomimic.weights.download import REPOSITORY, missing_files

FILES = sorted((ROOT / "workflows").glob("*.json"))
ADDRESS = f"https://huggingface.co/{REPOSITORY}/resolve/main/"
BY_LANDMARKS = ("landmark", "audio_landmark", "paste_back")
MOST_BYTES = 100_000  # of a picture


def published(path, folder) -> set[str]:
    """What `echomimic models download` would fetch for a workflow's variants."""
    kind = "landmark" if path.stem in BY_LANDMARKS else "audio"
    names = {name for each in (kind, f"{kind}_acc") for name in missing_files(folder, each)}
    return {name for name in names if not name.endswith(".json")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_loaders_name_all_published_files_with_folder_and_address(path, tmp_path):
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    listed = [model for node in nodes for model in node["properties"].get("models", [])]
    encoder = [n for n in nodes if n["type"] == "EchoMimicAudioEncoderLoader"]
    wanted = published(path, tmp_path)
    if not encoder:
        wanted = {name for name in wanted if "whisper" not in name}
    assert {model["name"] for model in listed} == wanted
    for model in listed:
        assert model["directory"] == "echo_mimic"
        assert model["url"] == ADDRESS + model["name"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_workflow_has_a_small_picture_for_the_list_of_templates(path):
    picture = path.with_suffix(".jpg")
    with Image.open(picture) as image:
        assert image.size == (480, 360)
    assert picture.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nodes_keep_the_colours_that_the_page_gives_them(path):
    for node in json.loads(path.read_text(encoding="utf-8"))["nodes"]:
        assert node.get("color") is None and node.get("bgcolor") is None, node["type"]
