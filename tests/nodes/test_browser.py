"""Editors and live previews in a real page of ComfyUI, in both of its renderers of nodes."""

from functools import partial

import numpy as np
import pytest
from comfy_server import LONG, MINI_DECODER, MINI_SAMPLER, Server, long_graph, mini_graph
from conftest import COMFYUI
from faces import face, poses, track_of
from page import RENDERERS, see
from PIL import Image
from support import ROOT

from echomimic.landmarks.mesh import DRAWN_BY_DEFAULT, LINES, PARTS
from echomimic.landmarks.track_file import save_track
from echomimic.motion.parts import PRESETS

FRAMES, FPS, GLIDE = 12, 24.0, 6.0  # centimetres to the right over the track
OTHER_PRESET = "eyes and brows"
HANDLES = [(0.35, 0.42), (0.65, 0.42), (0.5, 0.58), (0.38, 0.72), (0.62, 0.72)]  # the default
DRAGGED_TO = (0.25, 0.3)
COLOUR = (200, 80, 40)  # of the portrait
DECODED = 72  # frames that take longer than a message is due
WINDOWS = {"context_frames": 6, "context_overlap": 2, "segment_windows": 1}
IN_SECOND_SEGMENT = 2  # the preview of Long Render that is held, if it takes one step
FEWEST_COLOURS = 20  # of a picture, rather than of a word or of nothing


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
    Image.new("RGB", (64, 64), COLOUR).save(base / "input/plain.png")
    with Server(COMFYUI, base, ROOT) as running:
        yield running


@pytest.fixture(scope="module", params=RENDERERS)
def use(request, server, browser):
    """Runs a script in one of the renderers; what it saw."""
    return partial(see, browser, server.url, renderer=request.param)


@pytest.fixture(scope="module")
def seen(use, server) -> dict:
    """What was seen while the part editor was used."""
    info = server.get("/object_info")

    def graph(**inputs) -> dict:
        selection = _node(info, "EchoMimicPartSelection", landmarks=["1", 0], **inputs)
        return {"1": _node(info, "EchoMimicLandmarkLoad", file="glide.npz"), "2": selection}

    presets = list(PRESETS)
    return use("part_editor.mjs", graph=graph(), presets=presets, other=graph(preset=OTHER_PRESET))


@pytest.fixture(scope="module")
def placed(use, server) -> dict:
    """What was seen while a face was placed by hand."""
    graph = {"1": _node(server.get("/object_info"), "EchoMimicPlaceFace")}
    face = {"size": [64, 64], "lines": {}, "squares": {}, "points": [[]], "handles": HANDLES}
    result = face | {"filename": "plain.png", "subfolder": "", "type": "input"}
    drag = {"from": HANDLES[0], "to": DRAGGED_TO, "colour": COLOUR}
    return use("place_face.mjs", graph=graph, result=result, **drag)


@pytest.fixture(scope="module")
def watched(use, server) -> dict:
    """What was seen while clips were sampled, decoded, and rendered in segments."""
    info = server.get("/object_info")
    graph = mini_graph(info, length=FRAMES, steps=6)
    assert server.run(graph).error() is None  # so that only sampler and decoder are left to run
    others = {
        "decoder": {"graph": mini_graph(info, length=DECODED, steps=1), "node": MINI_DECODER,
                    "previews": 1},
        "longRender": {"graph": long_graph(info, length=FRAMES, steps=1, **WINDOWS), "node": LONG,
                       "previews": IN_SECOND_SEGMENT},
    }  # fmt: skip
    nodes = {"sampler": MINI_SAMPLER, "decoder": MINI_DECODER}
    return use("preview.mjs", graph=graph, fewestColours=FEWEST_COLOURS, others=others, **nodes)


def _node(info: dict, kind: str, **inputs) -> dict:
    known = info[kind]["input"]["required"]
    defaults = {name: spec[1].get("default") for name, spec in known.items() if len(spec) > 1}
    values = {name: value for name, value in defaults.items() if value is not None}
    return {"class_type": kind, "inputs": values | inputs}


def parts_on(inputs: dict) -> set[str]:
    return {part for part in PARTS if inputs[part]}


def test_page_has_no_errors_and_finds_all_our_files(seen, placed):
    assert seen["pageErrors"] + placed["pageErrors"] == []
    assert seen["missing"] + placed["missing"] == []


def test_editor_is_empty_until_the_graph_has_run_and_then_has_every_frame(seen):
    assert seen["beforeRun"] is None
    assert seen["first"] is not None
    assert seen["frames"] == FRAMES


@pytest.mark.parametrize(
    ("state", "preset"), [("loaded", "all but mouth"), ("opened", OTHER_PRESET)]
)
def test_opening_a_file_changes_nothing_of_what_is_queued(seen, state, preset):
    assert seen[state]["preset"] == preset
    assert parts_on(seen[state]) == DRAWN_BY_DEFAULT


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
    assert seen["switched"]["preset"] == "custom"
    assert parts_on(seen["switched"]) == PRESETS[OTHER_PRESET].drawn - {"left_eye"}


def test_editor_takes_no_place_among_the_saved_values(seen):
    inputs = seen["switched"]
    widgets = [name for name in inputs if name != "landmarks"]
    assert len(seen["saved"]) == len(widgets)
    assert seen["saved"][0] == inputs["preset"]
    assert seen["saved"][-1] == inputs["edits"]


def points_of(text: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in text.split()]


def test_handle_can_be_dragged_on_an_empty_frame_and_writes_the_points(placed):
    assert placed["beforeRun"] is None
    points = points_of(placed["dragged"])
    assert points[0] == pytest.approx(DRAGGED_TO, abs=0.01)
    assert points[1:] == HANDLES[1:]


def test_results_that_come_back_with_a_tab_show_the_portrait(placed):
    assert placed["shown"] is not None


def test_keyboard_moves_a_handle(placed):
    before, after = points_of(placed["dragged"]), points_of(placed["keyed"])
    assert after[2] == pytest.approx((before[2][0], before[2][1] - 0.002))
    assert after[:2] + after[3:] == before[:2] + before[3:]


def test_whole_clip_plays_on_the_sampler_while_it_is_made(watched):
    assert watched["pageErrors"] == watched["missing"] == []
    assert watched["sampler"]["frames"] == FRAMES
    assert "left" in watched["sampler"]["left"]
    assert_plays(watched["sampler"])
    assert watched["stillPreview"] is False


def test_frames_play_on_the_decoder_while_it_decodes(watched):
    assert 1 < watched["decoder"]["frames"] <= DECODED
    assert_plays(watched["decoder"])


def test_long_render_plays_its_finished_segment_and_the_one_that_is_sampled(watched):
    assert watched["longRender"]["frames"] == 9  # two windows of 6 frames with 3 in common
    assert_plays(watched["longRender"])


def assert_plays(preview: dict) -> None:
    """The preview showed pictures that move, while the run was not over."""
    assert preview["colours"] > FEWEST_COLOURS
    assert preview["moves"]
    assert preview["isInView"]
    assert preview["endedEarly"] is False


def test_finished_preview_stays_on_the_sampler_and_gives_way_to_the_video(watched):
    assert watched["leftAfterwards"] == ""
    assert watched["onDecoder"] == 0
    assert watched["saved"][1:] == watched["savedBefore"][1:]  # the first is the seed


def test_help_panel_shows_our_page_with_its_picture(watched):
    assert watched["help"]["title"] == "EchoMimic Sampler"
    assert watched["help"]["rows"] > 10
    assert watched["help"]["pictureWidth"] > 100
