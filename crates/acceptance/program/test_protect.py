"""Protected works: copies get the mask of the work itself, wherever they turn up and however they are edited."""

import json
import random
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xxhash
from product import read_json_lines, write_json_lines
from program.faults import check_reruns
from program.test_verify import edit_manifest
from tokenizers import Tokenizer

WORD = re.compile(r"[a-z0-9]+")
K = 3


def words_of(text):
    """The words of plain ASCII text, with where they are."""
    return [(match.group(), match.span()) for match in WORD.finditer(text.lower())]


def edited(words, rate, draw):
    """A copy in which words are replaced, deleted, inserted and swapped: each with its number in the original, if it has one."""
    copy = []
    for number, word in enumerate(words):
        kind = draw.choice(["replace", "delete", "insert", "swap"]) if draw.random() < rate else None
        if kind == "replace":
            copy.append((f"other{draw.randrange(1000)}", None))
        elif kind == "insert":
            copy += [(word, number), (f"new{draw.randrange(1000)}", None)]
        elif kind == "swap" and copy:
            copy.insert(-1, (word, number))
        elif kind != "delete":
            copy.append((word, number))
    return copy


def layouts(words, draw):
    """The same words in another layout."""
    kind = draw.randrange(3)
    if kind == 0:
        return " ".join(words).upper()
    if kind == 1:
        return "\n".join(" - ".join(words[at : at + 6]) for at in range(0, len(words), 6))
    return ", ".join(words)


@pytest.fixture(scope="module")
def texts(fixtures):
    """Words of real text: a vocabulary for works and for pages, so that they share words but no passages."""
    rows = [row["text"] for row in read_json_lines(fixtures / "corpus/prose.jsonl")]
    return [word for text in rows for word, _ in words_of(text)]


@pytest.fixture(scope="module")
def works(texts):
    draw = random.Random(1)
    return [{"id": f"work-{number}", "text": " ".join(draw.choices(texts, k=600)) + "."} for number in range(5)]


@pytest.fixture(scope="module")
def corpus(texts, works):
    """Pages; every second one quotes a work: where, how many words of it, and with which share of edits."""
    draw = random.Random(2)
    rows = []
    for number in range(160):
        page = draw.choices(texts, k=400)
        row = {"id": f"page-{number}", "text": " ".join(page), "work": None, "rate": None}
        if number % 2:
            work = draw.choice(works)
            own = [word for word, _ in words_of(work["text"])]
            length = draw.choice([30, 60, 120, 300, 500])
            start = draw.randrange(len(own) - length)
            rate = [0.0, 0.02, 0.05, 0.1][number // 2 % 4]
            quotation = edited(own[start : start + length], rate, draw)
            at = draw.randrange(len(page))
            copied = layouts([word for word, _ in quotation], draw)
            row["text"] = f"{' '.join(page[:at])}. {copied} {' '.join(page[at:])}"
            row |= {"work": work["id"], "rate": rate, "start": start, "length": length, "at": at}
            row["numbers"] = [number for _, number in quotation]
        rows.append(row)
    return rows


def policy(folder, works, rule='rule = "none"'):
    write_json_lines(folder / "works.jsonl", works)
    path = folder / "policy.toml"
    path.write_text(f'[default]\n{rule}\n\n[protect]\nworks = "works.jsonl"\nk = {K}\n')
    return path


def table(out):
    return pq.read_table(out.folder / "protected.parquet").to_pylist()


def in_common(one, other):
    """The most words in common in order, of two short lists."""
    row = [0] * (len(other) + 1)
    for a in one:
        before = 0
        for j, b in enumerate(other):
            before, row[j + 1] = row[j + 1], before + 1 if a == b else max(row[j], row[j + 1])
    return row[-1]


@pytest.fixture(scope="module")
def masked(goldfish, works, corpus, byte_tokenizer, tmp_path_factory):
    """The corpus with a token for each byte, so that masks say which letters are dropped."""
    folder = tmp_path_factory.mktemp("protect")
    path = write_json_lines(folder / "corpus.jsonl", corpus)
    common = ["--tokenizer", byte_tokenizer, "--id-column", "id"]
    return goldfish.mask(path, folder / "out", "--policy", policy(folder, works), *common)


@pytest.fixture(scope="module")
def own_masks(goldfish, works, byte_tokenizer, tmp_path_factory):
    """Which words of each work its own mask drops, by a run over the works alone."""
    folder = tmp_path_factory.mktemp("works")
    path = write_json_lines(folder / "works.jsonl", works)
    out = goldfish.mask(path, folder / "out", "--rule", "text", "--k", K, "--tokenizer", byte_tokenizer)
    return {
        work["id"]: [mask[start] == 0 for _, (start, _) in words_of(work["text"])] for work, mask in zip(works, out.masks)
    }


def test_passages_are_listed_and_shared(masked, works, corpus):
    """Every passage shares its words, all quotations without edits are found, and nearly all with edits."""
    own = {work["id"]: [word for word, _ in words_of(work["text"])] for work in works}
    pages = {row["id"]: [word for word, _ in words_of(row["text"])] for row in corpus}
    quoted = {row["id"]: row for row in corpus if row["work"]}
    rows = table(masked)
    assert pq.read_schema(masked.folder / "protected.parquet").names == [
        "work_id", "doc_id", "work_start", "work_end", "doc_start", "doc_end", "words", "edits",
    ]  # fmt: skip
    for row in rows:
        work, page = own[row["work_id"]][row["work_start"] : row["work_end"]], pages[row["doc_id"]]
        assert row["words"] >= 12
        assert in_common(work, page[row["doc_start"] : row["doc_end"]]) >= row["words"]
        assert row["doc_id"] in quoted and quoted[row["doc_id"]]["work"] == row["work_id"]
    for rate, least in [(0.0, 1.0), (0.02, 0.98), (0.05, 0.95), (0.1, 0.8)]:
        found = total = 0
        for page, row in quoted.items():
            if row["rate"] == rate:
                total += len(row["numbers"])
                found += sum(r["doc_end"] - r["doc_start"] for r in rows if r["doc_id"] == page)
        assert total > 1000 and found >= least * total, (rate, found, total)
    protected = masked.manifest["protected"]
    assert protected["works"] == len(works) and protected["table"]["rows"] == len(rows)
    assert protected["counts"]["passages"] == len(rows)
    assert protected["counts"]["documents"] == len({row["doc_id"] for row in rows})


def test_copies_lose_the_words_that_the_work_loses(masked, corpus, own_masks):
    """What the work drops, its copies drop; what else a page has is decided by the rule, here none."""
    leaked, dropped = {}, {}
    for row, mask in zip(corpus, masked.masks):
        words = words_of(row["text"])
        lost = [mask[start] == 0 for _, (start, _) in words]
        # Whole words are dropped.
        for (_, (start, end)), gone in zip(words, lost):
            assert len(set(mask[start:end])) == 1 and (mask[start] == 0) == gone
        if row["rate"] == 0.0:
            expected = own_masks[row["work"]][row["start"] : row["start"] + row["length"]]
            assert lost[row["at"] : row["at"] + row["length"]] == expected, row["id"]
            # Up to four words around a passage are the work's if it has them there.
            assert not any(lost[: max(0, row["at"] - 4)]) and not any(lost[row["at"] + row["length"] + 4 :])
        if row["rate"] is None:
            assert not any(lost)
        else:
            # Words of the copy that the work drops.
            own = own_masks[row["work"]][row["start"] :]
            copied = zip(row["numbers"], lost[row["at"] :])
            kept = [not gone for number, gone in copied if number is not None and own[number]]
            leaked[row["rate"]] = leaked.get(row["rate"], 0) + sum(kept)
            dropped[row["rate"]] = dropped.get(row["rate"], 0) + len(kept)
    assert all(count > 300 for count in dropped.values()), dropped
    leak = {rate: leaked[rate] / dropped[rate] for rate in dropped}
    print("leak by share of edits:", leak)
    assert leak[0.0] == 0 and leak[0.02] <= 0.02 and leak[0.05] <= 0.02 and leak[0.1] <= 0.1, leak


def test_other_words_are_decided_by_the_rule(goldfish, works, corpus, fixtures, tmp_path):
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus)
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--append-eos", "--id-column", "id"]
    out = goldfish.mask(path, tmp_path / "out", "--policy", policy(tmp_path, works, 'rule = "hash"\nk = 4'), *tokenizer)
    alone = goldfish.mask(path, tmp_path / "alone", "--rule", "hash", "--k", 4, *tokenizer)
    copies = {row["doc_id"] for row in table(out)}
    assert 60 < len(copies) <= 80
    for row, one, other in zip(corpus, out.masks, alone.masks):
        assert (one == other) == (row["id"] not in copies), row["id"]
    found = goldfish.run("verify", out.folder, "--recompute", "--tokenizer", fixtures / "tokenizers/gpt2.json")
    assert "sound" in found.stdout
    shown = goldfish.run("inspect", out.folder, "--tokenizer", fixtures / "tokenizers/gpt2.json").stdout
    assert "work-0" in shown and "protected.parquet" in shown
    # Ids through their tokenizer get the same masks.
    rows = [{"id": row["id"], "input_ids": ids} for row, ids in zip(corpus, out.ids)]
    ids = pa.Table.from_pylist(rows)
    pq.write_table(ids, tmp_path / "ids.parquet")
    column = ["--ids-column", "input_ids", "--tokenizer", fixtures / "tokenizers/gpt2.json", "--id-column", "id"]
    of_ids = goldfish.mask(tmp_path / "ids.parquet", tmp_path / "of-ids", "--policy", tmp_path / "policy.toml", *column)
    assert of_ids.masks == out.masks
    assert table(of_ids) == table(out)


def test_threads_parts_and_resumed_runs_give_the_same_bytes(goldfish, works, corpus, fixtures, tmp_path):
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus * 6)
    common = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--policy", policy(tmp_path, works), "--shard-size", "128KiB"]
    one, joined = check_reruns(goldfish, path, tmp_path, common, kills=[2, 4])
    assert len(one.shards) > 4 and len(table(one)) > 400
    assert table(joined) == table(one)
    assert joined.manifest["protected"]["counts"] == one.manifest["protected"]["counts"]
    goldfish.run("verify", joined.folder, "--recompute", *common[:2])
    # Other works are another job.
    policy(tmp_path, works[:4])
    failed = goldfish.run("mask", path, "--output", one.folder, "--resume", *common, expect=2)
    assert "keep --policy as it was" in failed.stderr


def test_works_that_share_a_passage(goldfish, texts, byte_tokenizer, tmp_path):
    """A passage of two works gets one mask, whichever of them it is a copy of."""
    draw = random.Random(7)
    shared = draw.choices(texts, k=200)
    part = lambda n: draw.choices(texts, k=n)  # noqa: E731
    texts = [part(100) + shared + part(50), part(70) + shared + part(90)]
    works = [{"id": f"w{n}", "text": " ".join(words)} for n, words in enumerate(texts)]
    rows = [{"id": work["id"], "text": work["text"]} for work in works]
    path = write_json_lines(tmp_path / "corpus.jsonl", rows)
    out = goldfish.mask(path, tmp_path / "out", "--policy", policy(tmp_path, works), "--tokenizer", byte_tokenizer)
    lost = [[mask[start] == 0 for _, (start, _) in words_of(row["text"])] for row, mask in zip(rows, out.masks)]
    assert lost[0][100:300] == lost[1][70:270]
    assert sum(lost[0][100:300]) > 40


@pytest.mark.parametrize("kind", ["folder", "parquet"])
def test_works_are_read_from_files(goldfish, works, corpus, masked, byte_tokenizer, tmp_path, kind):
    if kind == "folder":
        (tmp_path / "works").mkdir()
        for work in works:
            (tmp_path / "works" / f"{work['id']}.txt").write_text(work["text"])
    else:
        pq.write_table(pa.Table.from_pylist(works), tmp_path / "works.parquet")
    name = "works" if kind == "folder" else "works.parquet"
    (tmp_path / "policy.toml").write_text(f'[default]\nrule = "none"\n[protect]\nworks = "{name}"\nk = {K}\n')
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus)
    common = ["--policy", tmp_path / "policy.toml", "--tokenizer", byte_tokenizer, "--id-column", "id"]
    out = goldfish.mask(path, tmp_path / "out", *common)
    assert out.masks == masked.masks
    ids = {row["work_id"] for row in table(out)}
    assert ids == {f"{work['id']}.txt:0" if kind == "folder" else work["id"] for work in works}


def test_mistakes(goldfish, works, corpus, fixtures, tmp_path):
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus)
    common = ["mask", path, "--output", tmp_path / "out", "--policy", tmp_path / "policy.toml"]
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    default = '[default]\nrule = "none"\n'
    for protect, expected in [
        ('[protect]\nk = 3\n', '"protect" has no works'),
        ('[protect]\nworks = "missing.jsonl"\n', "no such file"),
        ('[protect]\nworks = "works.jsonl"\nk = 1\nunit = "token"\n', 'unknown key "unit"'),
        ('[protect]\nworks = "works.jsonl"\nleast_words = 0\n', "least_words is 0"),
        ('protect = 3\n' + default, "write [protect]"),
    ]:
        policy(tmp_path, works).write_text(protect if "default" in protect else default + protect)
        failed = goldfish.run(*common, *tokenizer, expect=2)
        assert expected in failed.stderr, failed.stderr
    write_json_lines(tmp_path / "works.jsonl", [{"id": "a", "text": "one"}, {"id": "b"}])
    (tmp_path / "policy.toml").write_text(default + '[protect]\nworks = "works.jsonl"\n')
    failed = goldfish.run(*common, *tokenizer, expect=2)
    assert 'no "text" in this line' in failed.stderr
    (tmp_path / "works.jsonl").write_text("")
    failed = goldfish.run(*common, *tokenizer, expect=2)
    assert "no works to protect" in failed.stderr
    ids = write_json_lines(tmp_path / "ids.jsonl", [{"input_ids": [1, 2]}])
    policy(tmp_path, works)
    failed = goldfish.run("mask", ids, "--output", tmp_path / "out", "--policy", tmp_path / "policy.toml", expect=2)
    assert "only with their tokenizer" in failed.stderr
    assert not (tmp_path / "out").exists()
    json.loads(goldfish.run(*common, *tokenizer, "--json").stdout)["protected"]


def test_the_table_is_no_input(goldfish, works, corpus, fixtures, tmp_path):
    """Shards in Parquet are read again without the table beside them, and a copy that is too short is warned about."""
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus)
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    short = [*works, {"id": "short", "text": "five words are too few"}]
    common = ["--policy", policy(tmp_path, short), *tokenizer, "--output-format", "parquet"]
    out = goldfish.mask(path, tmp_path / "out", *common)
    assert "1 work has too few words" in out.process.stderr
    again = ["--ids-column", "input_ids", "--ignore-masks", "--rule", "hash"]
    read = goldfish.mask(out.folder, tmp_path / "again", *again)
    assert len(read.masks) == len(corpus)
    assert "protected.parquet is not read" in read.process.stderr
    twice = [*works, works[0]]
    policy(tmp_path, twice)
    failed = goldfish.run("mask", path, "--output", tmp_path / "no", *common[:4], expect=2)
    assert "two protected works have the id" in failed.stderr


def test_works_are_only_looked_for(goldfish, works, corpus, masked, fixtures, tmp_path):
    """The same table without masks; from text without a tokenizer, from ids with theirs."""
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus)
    common = ["--policy", policy(tmp_path, works, 'rule = "text"\nk = 4'), "--protect-only", "--id-column", "id"]
    out = goldfish.mask(path, tmp_path / "out", *common)
    assert table(out) == table(masked)
    protected = out.manifest["protected"]
    assert protected["only"] and protected["counts"] == masked.manifest["protected"]["counts"]
    assert out.manifest["totals"]["documents_out"] == len(corpus) and out.manifest["totals"]["tokens"] == 0
    assert out.manifest["rule"]["name"] == "none" and out.manifest.get("tokenizer") is None and not out.manifest.get("policy")
    assert [len(ids) for ids in out.ids] == [0] * len(corpus)
    assert "--tokenizer is not used" not in out.process.stderr
    given = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    assert "--tokenizer is not used" in goldfish.mask(path, tmp_path / "noted", *common, *given).process.stderr
    assert (tmp_path / "noted/manifest.json").read_bytes() == (out.folder / "manifest.json").read_bytes()
    assert "160 documents searched" in out.process.stdout and "work-4" in out.process.stdout
    shown = goldfish.run("inspect", out.folder).stdout
    assert "work-4" in shown and "dropped" not in shown.split("shard ")[0]
    assert "sound" in goldfish.run("verify", out.folder).stdout
    assert "no masks to recompute" in goldfish.run("verify", out.folder, "--recompute", expect=2).stderr
    assert "no tokens" in goldfish.run("export", out.folder, "--to", "olmo", "--output", tmp_path / "olmo", expect=2).stderr
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    ids = goldfish.mask(path, tmp_path / "tokenized", *tokenizer, "--rule", "none").ids
    rows = [{"id": row["id"], "input_ids": ids} for row, ids in zip(corpus, ids)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "ids.parquet")
    column = ["--ids-column", "input_ids", *tokenizer]
    assert table(goldfish.mask(tmp_path / "ids.parquet", tmp_path / "of-ids", *common, *column)) == table(masked)
    failed = goldfish.run("mask", tmp_path / "ids.parquet", "--output", tmp_path / "no", *common, *column[:2], expect=2)
    assert "only with their tokenizer" in failed.stderr
    (tmp_path / "policy.toml").write_text('[default]\nrule = "none"\n')
    failed = goldfish.run("mask", path, "--output", tmp_path / "no", *common, expect=2)
    assert "protects no works" in failed.stderr
    # Rows that can't be read are counted.
    policy(tmp_path, works)
    path.write_text(path.read_text() + "\n{\n")
    out = goldfish.mask(path, tmp_path / "skipped", *common, "--on-error", "skip", expect=1)
    assert out.manifest["totals"]["documents_rejected"] == 1 and table(out) == table(masked)


def test_runs_that_only_look_resume_and_divide(goldfish, works, corpus, fixtures, tmp_path):
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus * 6)
    common = ["--policy", policy(tmp_path, works), "--protect-only", "--shard-size", "4KiB"]
    one, joined = check_reruns(goldfish, path, tmp_path, common, kills=[2, 4])
    assert len(one.shards) > 4 and len(table(one)) > 400
    assert table(joined) == table(one)
    # Masks are another job.
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json", "--shard-size", "4KiB"]
    failed = goldfish.run("mask", path, "--output", one.folder, "--resume", *common[:2], *tokenizer, expect=2)
    assert "protected" in failed.stderr or "tokenizer" in failed.stderr, failed.stderr


def test_masks_of_works_are_recomputed(goldfish, works, corpus, fixtures, tmp_path):
    path = write_json_lines(tmp_path / "corpus.jsonl", corpus)
    tokenizer = ["--tokenizer", fixtures / "tokenizers/gpt2.json"]
    common = ["--policy", policy(tmp_path, works, 'rule = "text"\nk = 4')]
    out = goldfish.mask(path, tmp_path / "out", *common, *tokenizer, "--append-eos", "--id-column", "id")
    check = ["verify", out.folder, "--recompute", *tokenizer]
    assert "only with --policy" in goldfish.run(*check).stdout
    assert "only with" not in goldfish.run(*check, *common).stdout
    # Two tokens of a passage change places: without the works nobody can say that.
    row = next(number for number, row in enumerate(corpus) if row["rate"] == 0.0 and row["length"] == 500)
    mask = out.masks[row]
    texts = [Tokenizer.from_file(str(fixtures / "tokenizers/gpt2.json")).decode([id]) for id in out.ids[row]]
    of_words = [at for at, text in enumerate(texts) if text.strip().isalpha() and at > len(mask) // 2]
    dropped, kept = (next(at for at in of_words if mask[at] == bit) for bit in (0, 1))
    content = bytearray(out.shards[0].read_bytes())
    place = content.index(bytes(mask))
    content[place + dropped], content[place + kept] = 1, 0
    out.shards[0].write_bytes(content)
    change = {"hash": f"xxh3_128:{xxhash.xxh3_128_hexdigest(bytes(content))}"}
    edit_manifest(out, lambda manifest: manifest["shards"][0].update(change), sealed=True)
    assert "sound" in goldfish.run(*check).stdout
    found = goldfish.run(*check, *common, expect=1).stdout
    assert "1 problem" in found and f"but the rule decides {int(kept < dropped)}" in found
    # A damaged shard does not accuse the sound ones.
    shards = goldfish.mask(path, tmp_path / "shards", *common, *tokenizer, "--shard-size", "64KiB")
    assert len(shards.shards) > 3
    damaged = bytearray(shards.shards[0].read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shards.shards[0].write_bytes(damaged)
    for arguments in ([], common):
        found = goldfish.run("verify", shards.folder, "--recompute", *tokenizer, *arguments, expect=1).stdout
        assert "2 problems" in found and "copy the work" not in found and "some have problems" in found, found
    # Other works are not those of the masks.
    policy(tmp_path, works[:4])
    assert "not those that the masks were made with" in goldfish.run(*check, *common, expect=2).stderr
