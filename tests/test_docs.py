"""What the documents and the package's metadata promise is what the code has."""

import dataclasses
import re

import pytest
from PIL import Image
from support import ROOT

from echomimic.config import PUBLISHED, Compatibility


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def requirements(name):
    """Package name → version specifier of every line of a requirements file."""
    lines = (line.split(";")[0] for line in text(name).splitlines() if line[:1] not in ("", "#"))
    return dict(re.fullmatch(r"([\w.-]+)(.*)", line.strip()).groups() for line in lines)


@pytest.mark.parametrize("field", dataclasses.fields(Compatibility), ids=lambda field: field.name)
def test_every_compatibility_switch_is_documented(field):
    assert f"`{field.name}" in text("docs/compatibility.md")


@pytest.mark.parametrize("row", PUBLISHED.values(), ids=lambda row: row.name)
def test_every_file_of_a_variant_is_documented(row):
    documented = text("docs/models.md")
    for file in (row.denoising_unet, row.motion_module, row.reference_unet, row.landmark_encoder):
        assert f" {file}.pth" in documented


def test_requirements_are_lower_bounds_that_leave_comfyui_alone():
    wanted = requirements("requirements.txt")
    assert all(bound.startswith(">=") for bound in wanted.values())
    assert not {name for name in wanted if re.match("torch|opencv|numpy|pillow|transformers", name)}


def test_every_requirement_has_a_tested_version():
    tested = requirements("constraints.txt")
    assert requirements("requirements.txt").keys() <= tested.keys()
    assert tested["torch"] == "==2.13.0"


DOCUMENTS = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
]


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_links_between_documents_lead_somewhere(document):
    folder = (ROOT / document).parent
    for target in re.findall(r"\]\((?!http)([^)#]+)", text(document)):
        assert (folder / target).exists(), target


@pytest.mark.parametrize(("name", "size"), [("icon", (400, 400)), ("banner", (1260, 540))])
def test_icon_and_banner_have_the_shapes_that_the_registry_asks_for(name, size):
    """Square of at most 400 pixels, and 21:9; drawn from the SVG beside it."""
    with Image.open(ROOT / f"docs/images/{name}.png") as picture:
        assert picture.size == size
    assert f'width="{size[0]}" height="{size[1]}"' in text(f"docs/images/{name}.svg")
    assert f"docs/images/{name}.png" in text("pyproject.toml")
