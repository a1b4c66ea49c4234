"""The part editor in a real page of ComfyUI, in both of its renderers of nodes."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from comfy_server import Server
from conftest import COMFYUI
from faces import face, poses, track_of
from support import ROOT

from echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, LINES, PARTS
from echomimic.landmarks.track_file import save_track
from echomimic.motion.parts import PRESETS

SCRIPT = Path(__file__).parent / "browser" / "part_editor.mjs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FRAMES, FPS, GLIDE = 12, 24.0, 6.0  # centimetres to the right over the track
TIMEOUT = 180  # seconds


def playwright_folder() -> Path | None:
    """A folder with node_modules/playwright-core: as named, of the checkout, of the machine."""
    folders = [os.environ.get("ECHOMIMIC_PLAYWRIGHT"), ROOT]
    if shutil.which("npm"):
        root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=False)
        folders.append(Path(root.stdout.strip()).parent)
    found = (Path(folder) for folder in folders if folder)
    return next((f for f in found if (f / "node_modules/playwright-core").is_dir()), None)


@pytest.fixture(scope="module")
def browser() -> dict[str, str]:
    """Where the browser and its driver are; skips where they are not."""
    chromium = next(filter(None, map(shutil.which, BROWSERS)), None)
    if not shutil.which("node") or chromium is None:
        pytest.skip("needs node and Chromium")
    folder = playwright_folder()
    if folder is None:
        pytest.skip(
            "needs playwright-core: npm install --prefix FOLDER playwright-core, then set "
            "ECHOMIMIC_PLAYWRIGHT=FOLDER"
        )
    return {"modules": str(folder), "chromium": chromium}


@pytest.fixture(scope="module")
def track():
    """A face that glides to the right."""
    places = np.linspace((-GLIDE / 2, 0, -50), (GLIDE / 2, 0, -50), FRAMES)
    return track_of(face(), poses((0, 0, 0), places), fps=FPS)


@pytest.fixture(scope="module")
def server(browser, track, tmp_path_factory):
    base = tmp_path_factory.mktemp("browser")
    (base / "input").mkdir()
    save_track(track, base / "input/glide.npz")
    with Server(COMFYUI, base, ROOT) as running:
        yield running


@pytest.fixture(scope="module", params=["canvas", "vue"])
def seen(request, server, browser) -> dict:
    """What the browser saw while the editor was used."""
    setup = browser | {
        "url": server.url,
        "vue": request.param == "vue",
        "graph": _graph(server.get("/object_info")),
        "presets": list(PRESETS),
    }
    command = ["node", str(SCRIPT), json.dumps(setup)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert run.returncode == 0, run.stderr
    seen = json.loads(run.stdout)
    assert seen["vue"] == setup["vue"], "the page used the other renderer"
    return seen


def _graph(node_info: dict) -> dict:
    def node(kind: str, **inputs) -> dict:
        known = node_info[kind]["input"]["required"]
        defaults = {name: spec[1].get("default") for name, spec in known.items() if len(spec) > 1}
        values = {name: value for name, value in defaults.items() if value is not None}
        return {"class_type": kind, "inputs": values | inputs}

    return {
        "1": node("EchoMimicLandmarkLoad", file="glide.npz"),
        "2": node("EchoMimicPartSelection", landmarks=["1", 0]),
    }


def parts_on(inputs: dict) -> set[str]:
    return {part for part in PARTS if inputs[part]}


def test_page_has_no_errors_and_finds_all_our_files(seen):
    assert seen["pageErrors"] == []
    assert seen["missing"] == []


def test_editor_is_empty_until_the_graph_has_run_and_then_has_every_frame(seen):
    assert seen["beforeRun"] is None
    assert seen["first"] is not None
    assert seen["frames"] == FRAMES


def test_opening_a_file_changes_nothing_of_what_is_queued(seen):
    assert seen["loaded"]["preset"] == "all but mouth"
    assert parts_on(seen["loaded"]) == DRAWN_BY_DEFAULT


def test_click_on_a_part_turns_it_off_in_what_is_queued_and_on_the_canvas(seen):
    assert seen["clicked"]["preset"] == "custom"
    assert parts_on(seen["clicked"]) == DRAWN_BY_DEFAULT - {"left_eye"}
    assert seen["hidden"] is None  # its colour is gone


def test_second_click_turns_it_on_again(seen):
    assert parts_on(seen["clickedAgain"]) == DRAWN_BY_DEFAULT


def test_keyboard_reaches_every_part(seen):
    assert parts_on(seen["keyed"]) == DRAWN_BY_DEFAULT | {"mouth"}


def test_drawn_eye_moves_with_the_scrubber_as_the_track_says(seen, track):
    eye = track.points[:, LINES["left_eye"][0].points, 0]  # (f, n), shares of the width
    width = np.ptp(eye[0])
    expected = (eye[-1].min() - eye[0].min()) / width
    drawn_width = seen["first"]["right"] - seen["first"]["left"]
    drawn = (seen["last"]["left"] - seen["first"]["left"]) / drawn_width
    assert drawn == pytest.approx(expected, rel=0.1)  # lines are 2 pixels thick
    assert seen["last"]["top"] == pytest.approx(seen["first"]["top"], abs=2)


def test_label_names_frame_and_time(seen):
    assert seen["label"] == f"{FRAMES - 1} / {FRAMES - 1} · {(FRAMES - 1) / FPS:.2f} s"


@pytest.mark.parametrize("preset", PRESETS)
def test_choosing_a_preset_sets_the_switches_as_the_node_understands_it(seen, preset):
    assert seen["chosen"][preset]["preset"] == preset
    assert parts_on(seen["chosen"][preset]) == PRESETS[preset].drawn


def test_turning_a_switch_by_hand_keeps_the_rest_of_the_preset(seen):
    last = list(PRESETS)[-1]
    assert seen["switched"]["preset"] == "custom"
    assert parts_on(seen["switched"]) == PRESETS[last].drawn - {"nose"}


def test_editor_takes_no_place_among_the_saved_values(seen):
    inputs = seen["switched"]
    widgets = [name for name in inputs if name != "landmarks"]
    assert len(seen["saved"]) == len(widgets)
    assert seen["saved"][0] == inputs["preset"]
    assert seen["saved"][-1] == inputs["edits"]
