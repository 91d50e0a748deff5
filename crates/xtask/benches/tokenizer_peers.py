"""Speed and ids of other tokenizers on the same text as `cargo run --release -p goldfish-tokenize --example speed`.

    pip install riptoken==0.2.4 tiktoken==0.14.0 tokenizers==0.23.2
    python crates/xtask/benches/tokenizer_peers.py TOKENIZER.json TEXT_FILE [TURNS]

The tokenizer is byte-level BPE after one `Split`, with the tokens in order of their merges (gpt-oss, Llama-3, Tekken).
Documents are about 4 KB, cut at line ends. The figures are MB a second of processor time on one thread (median, min and
max of the turns), and in how many documents the ids differ from those of `tokenizers`.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import riptoken
import tiktoken
from tokenizers import Tokenizer


def documents(text):
    """Documents of at least 4,096 bytes, cut after a line end."""
    rows, size, found = [], 0, []
    for line in text.splitlines(keepends=True):
        rows.append(line)
        size += len(line.encode())
        if size > 4096:
            found.append("".join(rows))
            rows, size = [], 0
    return [*found, "".join(rows)]


def byte_of_character():
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {chr(byte): byte for byte in visible} | {chr(256 + index): byte for index, byte in enumerate(others)}


def main(path, text, turns=5):
    file = json.loads(Path(path).read_text(encoding="utf-8"))
    split = file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    alphabet = byte_of_character()
    vocabulary = file["model"]["vocab"].items()
    ranks = {bytes(map(alphabet.get, token)): id for token, id in vocabulary if all(c in alphabet for c in token)}
    # Added tokens of the vocabulary are no merges.
    for token in file["added_tokens"]:
        ranks.pop(token["content"].encode(), None)
    exact = Tokenizer.from_file(path)
    peers = {
        "tiktoken": tiktoken.Encoding("peer", pat_str=split, mergeable_ranks=ranks, special_tokens={}).encode_ordinary,
        "riptoken": riptoken.CoreBPE(ranks, {}, split).encode_ordinary,
    }
    texts = documents(Path(text).read_text(encoding="utf-8", errors="replace"))
    size = sum(len(one.encode()) for one in texts) / 1e6
    expected = [exact.encode(one, add_special_tokens=False).ids for one in texts]
    for name, encode in peers.items():
        figures = []
        for _ in range(int(turns)):
            started = time.process_time()
            ids = [encode(one) for one in texts]
            figures.append(size / (time.process_time() - started))
        differ = sum(list(one) != other for one, other in zip(ids, expected))
        low, high = min(figures), max(figures)
        print(f"{name:9} {statistics.median(figures):6.1f} ({low:.1f} to {high:.1f}) MB/s, {differ} of {len(texts)} documents differ")


if __name__ == "__main__":
    main(*sys.argv[1:])
