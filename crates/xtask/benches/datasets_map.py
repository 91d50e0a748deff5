"""Tokenizes and masks raw text the usual way: `datasets.map`, the fast tokenizer, numpy and xxhash.

Called by `cargo bench -p xtask -- raw` with a JSONL file, a tokenizer, the folder that `goldfish mask` wrote, and the number
of processes. Prints the seconds of reading, mapping and saving; fails if ids or masks differ.
"""

import os
import shutil
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import numpy as np
import xxhash
from tokenizers import Tokenizer

CONTEXT = 13
K = 4


def mask_of(ids: np.ndarray) -> np.ndarray:
    """The default `hash` of `goldfish mask`: the 13 ids before a token, one in four dropped."""
    data = ids.astype("<u4").tobytes()
    last_dropped = (2**64 - 1) // K
    mask = np.ones(len(ids), np.uint8)
    for i in range(CONTEXT, len(ids)):
        mask[i] = xxhash.xxh3_64_intdigest(data[4 * (i - CONTEXT) : 4 * i]) > last_dropped
    return mask


def encode(batch: dict, tokenizer: Tokenizer, special: list[int]) -> dict:
    ids = [encoding.ids for encoding in tokenizer.encode_batch(batch["text"], add_special_tokens=False)]
    masks = []
    for document in map(np.array, ids):
        mask = mask_of(document)
        mask[np.isin(document, special)] = 1
        masks.append(mask)
    return {"input_ids": ids, "loss_mask": masks}


def main() -> None:
    source, tokenizer_path, output, processes = sys.argv[1:]
    ours = datasets.load_from_disk(output)
    tokenizer = Tokenizer.from_file(tokenizer_path)
    special = [id for id, token in tokenizer.get_added_tokens_decoder().items() if token.special]
    cache = tempfile.mkdtemp(dir=os.path.dirname(output))
    datasets.disable_progress_bars()
    start = time.perf_counter()
    data = datasets.load_dataset("json", data_files=source, split="train", cache_dir=cache)
    data = data.map(
        encode,
        batched=True,
        num_proc=int(processes),
        remove_columns=["text"],
        fn_kwargs={"tokenizer": tokenizer, "special": special},
    )
    data.save_to_disk(os.path.join(cache, "saved"))
    seconds = time.perf_counter() - start
    compare(ours, data)
    shutil.rmtree(cache)
    print(seconds)


def compare(ours: datasets.Dataset, theirs: datasets.Dataset) -> None:
    if len(ours) != len(theirs):
        raise SystemExit(f"{len(ours)} documents, but {len(theirs)} by datasets.map")
    for column in ["input_ids", "loss_mask"]:
        for rows in zip(ours.iter(1000), theirs.iter(1000)):
            for one, other in zip(*(batch[column] for batch in rows)):
                if one != other:
                    raise SystemExit(f"{column} differ")


if __name__ == "__main__":
    main()
