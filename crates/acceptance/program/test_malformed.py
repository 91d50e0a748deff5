"""Each broken file of fixtures/malformed has the result in expected.json."""

import json
from pathlib import Path

import pytest

from conftest import REPOSITORY

FIXTURES = REPOSITORY / "fixtures"
CASES = json.loads((FIXTURES / "malformed/expected.json").read_text())
LEGAL = [case for case in CASES if case["rows_rejected"] == 0]
BROKEN = [case for case in CASES if case["rows_rejected"] != 0]

# As in docs/limits.md for small files.
PEAK_MIB = 256


def names(cases):
    return [Path(case["file"]).name for case in cases]


@pytest.fixture(params=BROKEN, ids=names(BROKEN))
def case(request):
    return request.param


def missing_words(case, text):
    """The expected words that are missing in a message; the file's name does not count."""
    text, name = text.lower(), Path(case["file"]).name.lower()
    stem = name.split(".")[0]
    missing = []
    for word in map(str.lower, case["message_contains"]):
        names_a_file = word.startswith(stem)
        if word not in (text if names_a_file else text.replace(stem, "")):
            missing.append(word)
    return missing


def test_fail_names_the_row(goldfish, case, tmp_path):
    output = tmp_path / "out"
    process = goldfish.measured("mask", case["file"], "--output", output, *case["args"], expect=2, cwd=FIXTURES)
    assert process.peak < PEAK_MIB
    assert not missing_words(case, process.stderr), f"{case['fault']}; stderr was: {process.stderr}"
    assert Path(case["file"]).stem.split(".")[0] in process.stderr, "the message does not name the file"
    assert not output.exists(), "a failed run left something behind"


@pytest.mark.parametrize("case", LEGAL, ids=names(LEGAL))
def test_valid_but_unusual_files_are_read(goldfish, case, tmp_path):
    output = tmp_path / "out"
    goldfish.measured("mask", case["file"], "--output", output, *case["args"], cwd=FIXTURES)
    totals = json.loads((output / "manifest.json").read_text())["totals"]
    assert (totals["documents_out"], totals["documents_rejected"]) == (case["rows_ok"], 0), case["fault"]


def test_skip_counts_every_document(goldfish, case, tmp_path):
    arguments = [*case["args"], "--on-error", "skip"]
    whole_file = case["rows_ok"] is None
    # An unusable file may be rejected as a whole (1) or fail the run (2), but never pass.
    expect = (1, 2) if whole_file else 1
    output = goldfish.mask(case["file"], tmp_path / "out", *arguments, expect=expect, cwd=FIXTURES)
    assert "panicked" not in output.process.stderr
    if output.process.returncode == 2:
        assert not missing_words(case, output.process.stderr)
        assert not output.folder.exists()
        return
    totals = output.manifest["totals"]
    rejects = output.rejects
    assert totals["documents_in"] == totals["documents_out"] + totals["documents_rejected"]
    assert len(rejects) == totals["documents_rejected"]
    assert all({"file", "row", "reason"} <= reject.keys() for reject in rejects)
    assert all(Path(reject["file"]).name == Path(case["file"]).name for reject in rejects)
    if whole_file:
        assert not missing_words(case, json.dumps(rejects, ensure_ascii=False))
    else:
        first = rejects[0]
        assert not missing_words(case, f"row {first['row']}: {first['reason']}")
        assert (totals["documents_out"], totals["documents_rejected"]) == (case["rows_ok"], case["rows_rejected"])


def test_skip_keeps_the_valid_rows(goldfish, tmp_path):
    """Only the broken row is rejected; rejects name the file and the 0-based row."""
    inputs = ["malformed/two-faults.jsonl", "formats/docs.jsonl", "malformed/missing-text.jsonl"]
    arguments = ["--tokenizer", "tokenizers/gpt2.json", "--on-error", "skip"]
    output = goldfish.mask(inputs, tmp_path / "out", *arguments, expect=1, cwd=FIXTURES)
    places = [(Path(reject["file"]).name, reject["row"]) for reject in output.rejects]
    assert places == [("two-faults.jsonl", 1), ("two-faults.jsonl", 3), ("missing-text.jsonl", 1)]
    names = [name.rsplit("/", 1)[-1] for name in output.column("doc_id")]
    assert names[:3] == ["two-faults.jsonl:0", "two-faults.jsonl:2", "two-faults.jsonl:4"]
    assert names[-4:] == [f"missing-text.jsonl:{row}" for row in (0, 2, 3, 4)]
    assert [entry["rejected"] for entry in output.manifest["inputs"]] == [2, 0, 1]


def test_the_table_covers_every_format():
    suffixes = {Path(case["file"]).suffix for case in CASES}
    assert suffixes >= {".jsonl", ".gz", ".zst", ".parquet", ".arrow", ".bin", ".npy", ".ds", ".txt"}
    assert len(BROKEN) >= 200 and len(LEGAL) >= 30
