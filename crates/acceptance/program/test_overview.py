"""The picture of the README shows what the default rule decides."""

import re
from xml.etree import ElementTree

import pytest
from tokenizers import Tokenizer

from product import write_texts

SVG = "{http://www.w3.org/2000/svg}"


def shown(picture, copy):
    """The text of one of the copies, and the words that are marked in it, as pairs of start and end."""
    text, marked = "", []
    for line in ElementTree.parse(picture).iter(f"{SVG}text"):
        if copy not in line.get("class").split():
            continue
        text += line.text or ""
        for word in line:
            marked.append((len(text), len(text) + len(word.text)))
            text += word.text + (word.tail or "")
        text += "\n"
    return text.removesuffix("\n"), marked


@pytest.mark.parametrize("copy", ["copy1", "copy2"])
def test_the_marked_words_are_those_that_the_default_rule_drops(goldfish, repository, fixtures, tmp_path, copy):
    text, marked = shown(repository / "docs/images/overview.svg", copy)
    assert len(marked) >= 12
    file = fixtures / "tokenizers/gpt2.json"
    output = goldfish.mask(write_texts(tmp_path / "text.jsonl", [text]), tmp_path / "masked", "--tokenizer", file)
    encoded = Tokenizer.from_file(str(file)).encode(text)
    assert output.ids == [encoded.ids]
    spans = [span for span, kept in zip(encoded.offsets, output.masks[0]) if not kept]
    words = [word.span() for word in re.finditer(r"\w+", text)]
    dropped = [(start, end) for start, end in words if any(a < end and start < b for a, b in spans)]
    assert marked == dropped
