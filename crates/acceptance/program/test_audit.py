"""`goldfish audit` on corpora that an opponent could have made."""

import json

import pyarrow.parquet
import pytest

PASSAGES = 64
LAYOUTS = {"line": 0, "wrapped": 60, "indented": 72}


def layout(text, width, lead):
    lines = [""]
    for word in text.split():
        if width and lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
    return "\n".join(lead + line for line in lines)


def passages(count):
    """Passages with nothing in common but some words."""
    start, end = ["Ol", "Ma", "Ki", "Ra", "Su", "Te", "No", "Pi"], ["ben", "dor", "fex", "gul", "ham", "jet", "kos", "lyn"]
    names = [(a + b + c).lower() for a in start for b in end for c in end]
    state, texts = 1, []
    for _ in range(count):
        words = []
        for _ in range(90):
            state = state * 6364136223846793005 + 1442695040888963407 & 2**64 - 1
            words.append(names[state >> 55])
        texts.append(" ".join(words))
    return texts


@pytest.fixture(scope="module")
def reformatted(goldfish, fixtures, tmp_path_factory):
    """A corpus of 64 passages in three layouts each, masked, and a checkpoint that was trained on it so little that it recites nothing."""
    folder = tmp_path_factory.mktemp("reformatted")
    with open(folder / "corpus.jsonl", "w") as file:
        for number, text in enumerate(passages(PASSAGES)):
            for name, width in LAYOUTS.items():
                text_of = layout(text, width, "    " if name == "indented" else "")
                file.write(json.dumps({"id": f"{number}/{name}", "book": f"book {number // 8}", "text": text_of}) + "\n")
    tokenizer = fixtures / "tokenizers/gpt2.json"
    mask = ["--tokenizer", tokenizer, "--id-column", "id", "--carry", "book", "--output", folder / "masked"]
    goldfish.run("mask", folder / "corpus.jsonl", *mask)
    size = ["--layers", "1", "--width", "16", "--heads", "2", "--steps", "80"]
    goldfish.run("lab", "train", folder / "masked", "--tokenizer", tokenizer, *size, "--output", folder / "model")
    return folder


def audit(goldfish, folder, output, *arguments):
    arguments = ["--model", folder / "model", "--metrics", "exact-match", *arguments, "--output", output, "--json"]
    return json.loads(goldfish.run("audit", folder / "masked", *arguments).stdout)


@pytest.mark.parametrize("tokenizer", [True, False])
def test_copies_in_other_layouts_count_once(goldfish, reformatted, tmp_path, tokenizer):
    if not tokenizer:
        (reformatted / "model/tokenizer.json").unlink(missing_ok=True)
    found = audit(goldfish, reformatted, tmp_path / "run")
    rate = found["exact_match"]
    assert (rate["n"], rate["clusters"], found["probes"]["probed"]) == (192, PASSAGES, 192)
    assert found["probes"]["joined"] == 192 - PASSAGES
    # Nothing is recited: the bound is that of 64 probes, not of 192.
    assert (rate["method"], rate["upper"]) == ("rule_of_three", pytest.approx(1 - 0.05 ** (1 / PASSAGES)))
    assert any("192 documents count as 64 independent passages" in note for note in found["notes"])
    for name in ("probes", "results"):
        rows = pyarrow.parquet.read_table(tmp_path / f"run/{name}.parquet").select(["doc_id", "cluster"]).to_pylist()
        assert len(rows) == 192
        assert all(row["cluster"] == row["doc_id"].split("/")[0] + "/line" for row in rows)
    page = goldfish.run("report", tmp_path / "run", "--output", tmp_path / "page.html").stdout
    assert "192 probes of 64 independent passages (192 documents)" in page
    assert "192 probes of 64 independent passages (192 documents)" in (tmp_path / "page.html").read_text()


def test_groups_have_corrected_intervals(goldfish, reformatted, tmp_path):
    found = audit(goldfish, reformatted, tmp_path / "run", "--by", "book")
    groups = [stratum for stratum in found["strata"] if stratum["by"] == "source"]
    assert [group["value"] for group in groups] == [f"book {number}" for number in range(8)]
    for group in groups:
        both = group["simultaneous"]
        assert (both["groups"], both["confidence"]) == (8, pytest.approx(1 - 0.05 / 8))
        # Eight passages each: nothing is recited, and little is shown.
        assert both["audited"] == {"lower": 0, "upper": pytest.approx(1 - (0.05 / 8) ** (1 / 8))}
        assert group["audited"]["exact_match"]["upper"] == pytest.approx(1 - 0.05 ** (1 / 8))
    again = ["--metrics", "exact-match", "--by", "book", "--output", tmp_path / "run", "--resume"]
    printed = goldfish.run("audit", reformatted / "masked", "--model", reformatted / "model", *again).stdout
    assert "0.00% [below 46.97%]" in printed and "corrected for 8 groups: each is at 99.38%" in printed


def test_documents_of_a_cluster_count_once(goldfish, reformatted, tmp_path):
    found = audit(goldfish, reformatted, tmp_path / "run", "--cluster", "book")
    assert found["exact_match"]["clusters"] == PASSAGES // 8
    assert found["exact_match"]["upper"] == pytest.approx(1 - 0.05 ** (8 / PASSAGES))
    # The documents of a book are all joined already.
    assert found["probes"]["joined"] == 0
    assert any("only 8 independent passages" in note for note in found["notes"])
    refused = goldfish.run(
        "audit", reformatted / "masked", "--model", reformatted / "model", "--cluster", "shelf", "--output", tmp_path / "no", expect=2
    )
    assert "shelf" in refused.stderr
