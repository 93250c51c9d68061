"""docs/api is what the docstrings say today."""

import inspect
import sys

import pytest

import ingestd.client as client
from tests.support.api_pages import FOLDER, members, names_on_pages, pages


def test_every_public_name_has_its_place():
    assert names_on_pages() == set(client.__all__)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="Python 3.11 made the pages: others write types otherwise")
@pytest.mark.parametrize("file", pages())
def test_a_page_is_what_the_sources_say(file: str):
    assert (FOLDER / file).read_text() == pages()[file], "python -m tests.support.api_pages"


@pytest.mark.parametrize("name", client.__all__)
def test_every_public_name_and_its_methods_say_what_they_do(name: str):
    thing = getattr(client, name)
    assert thing.__doc__
    if inspect.isclass(thing):
        silent = [member for member, value in members(thing) if not inspect.getdoc(value)]
        assert silent == []
