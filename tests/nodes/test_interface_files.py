"""Names that saved workflows hold stay; help pages and both languages say what the nodes have.

After a change that is meant: `python tests/nodes/interface_files.py` writes the files anew.
"""

import json
import re

import interface_files as files
import pytest
from PIL import Image

CHINESE = re.compile("[\u4e00-\u9fff]")
PICTURE = re.compile(r"!\[([^]]*)\]\(([^)]+)\)")  # what it shows, and its file
MOST_PICTURE_BYTES = 2_000_000
SMALLEST_PICTURE = 100  # pixels of its shorter side
LEAST_TEXT = 200  # characters of a page that a person wrote


@pytest.fixture(scope="module")
def found(pack):
    return files.schemas(pack)


def test_names_types_and_defaults_are_as_they_were(found):
    """A node id, input or output that is renamed, moved or retyped breaks saved workflows."""
    now = json.loads(json.dumps(files.snapshot(found)))
    before = json.loads(files.SNAPSHOT.read_text())
    assert now.keys() == before.keys()
    for name in now:
        assert now[name] == before[name], name


def test_every_input_has_a_tooltip_and_every_node_a_description_and_aliases(found):
    without = [f"{n}.{i.id}" for n, s in found.items() for i in s.inputs if not i.tooltip]
    assert without == []
    assert [name for name, s in found.items() if not (s.description and s.search_aliases)] == []


def test_english_locale_says_what_the_schemas_say(found):
    assert files.read_locale("en") == files.english(found)


def test_chinese_locale_has_every_name_and_tooltip_and_nothing_else(found):
    chinese, english = files.read_locale("zh"), files.english(found)
    assert chinese.keys() == english.keys()
    for name, node in english.items():
        for kind in ("inputs", "outputs"):
            theirs = chinese[name].get(kind, {})
            assert list(theirs) == list(node.get(kind, {})), name
            for key, text in theirs.items():
                assert text["name"], f"{name}.{key}"
                assert CHINESE.search(text["tooltip"]), f"{name}.{key}"
        assert CHINESE.search(chinese[name]["display_name"] + chinese[name]["description"])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_text_has_what_pages_take_for_a_placeholder(language):
    """The page of ComfyUI 0.18 then shows the node without any of its widgets."""
    texts = list(strings_of(files.read_locale(language)))
    assert len(texts) > 500
    assert [text for text in texts if re.search("[{}@|]", text)] == []


def strings_of(value):
    """All texts in a locale."""
    if isinstance(value, str):
        yield value
    else:
        for inner in value.values():
            yield from strings_of(inner)


def test_categories_are_translated(found):
    parts = {part for schema in found.values() for part in schema.category.split("/")}
    for language in files.LANGUAGES:
        assert files.read_locale(language, "main")["nodeCategories"].keys() == parts


def test_every_page_belongs_to_a_node(found):
    pages = {path.name for path in files.PAGES.iterdir() if path.name != "images"}
    assert pages == found.keys()


@pytest.mark.parametrize("language", files.LANGUAGES)
def test_every_node_has_a_page_whose_tables_are_those_of_its_schema(found, language):
    texts = files.read_locale(language)
    for name, schema in found.items():
        page = files.page(name, language).read_text(encoding="utf-8")
        made = files.tables(schema, texts[name], language)
        assert made in page, f"{name}: run tests/nodes/interface_files.py"
        written = page.replace(made, "")
        shortest = LEAST_TEXT if language == "en" else LEAST_TEXT // 4
        assert len(written) > shortest, name
        assert page.startswith(f"# {texts[name]['display_name']}\n")


@pytest.mark.parametrize("language", files.LANGUAGES)
def test_every_page_shows_pictures_and_says_what_they_show(found, language):
    """The page asks for them relative to the folder of all pages."""
    for name in found:
        pictures = PICTURE.findall(files.page(name, language).read_text(encoding="utf-8"))
        assert pictures, f"{name} has no picture"
        for said, target in pictures:
            assert bool(CHINESE.search(said)) == (language == "zh"), f"{name}: {said!r}"
            with Image.open(files.PAGES / target) as picture:
                picture.load()
                assert min(picture.size) >= SMALLEST_PICTURE, target


def test_both_languages_show_the_same_pictures(found):
    for name in found:
        texts = (files.page(name, language).read_text("utf-8") for language in files.LANGUAGES)
        english, chinese = ([target for _, target in PICTURE.findall(text)] for text in texts)
        assert english == chinese, name


def test_pictures_of_the_pages_are_all_used_and_small():
    pictures = list((files.PAGES / "images").glob("*"))
    text = "".join(path.read_text(encoding="utf-8") for path in files.PAGES.glob("*/*.md"))
    assert [path.name for path in pictures if f"images/{path.name}" not in text] == []
    assert sum(path.stat().st_size for path in pictures) < MOST_PICTURE_BYTES
