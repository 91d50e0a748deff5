"""The `tokenizer.json` of a tekken.json, the file of Mistral's byte-level models."""

import base64


def byte_alphabet():
    """The character that stands for each byte in a `tokenizer.json`."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    return {byte: chr(byte) for byte in visible} | {byte: chr(256 + index) for index, byte in enumerate(others)}


def halves(token, ranks):
    """The two parts of which byte-pair encoding joins a token last."""
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        pairs = [ranks.get(left + right, len(ranks)) for left, right in zip(parts, parts[1:])]
        at = pairs.index(min(pairs))
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def tokenizer(tekken):
    config, alphabet = tekken["config"], byte_alphabet()
    specials = config["default_num_special_tokens"]
    entries = tekken["vocab"][: config["default_vocab_size"] - specials]
    ranks = {base64.b64decode(entry["token_bytes"]): entry["rank"] for entry in entries}

    def spell(token):
        return "".join(alphabet[byte] for byte in token)

    added = [
        {"id": index, "content": f"<SPECIAL_{index}>", "special": True}
        | dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
        for index in range(specials)
    ]
    split = {"type": "Split", "pattern": {"Regex": config["pattern"]}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    return {
        "version": "1.0",
        "added_tokens": added,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level | {"use_regex": False}]},
        "decoder": level | {"use_regex": True},
        "model": {
            "type": "BPE",
            "ignore_merges": True,
            "vocab": {token["content"]: token["id"] for token in added}
            | {spell(token): rank + specials for token, rank in ranks.items()},
            "merges": [list(map(spell, halves(token, ranks))) for token in ranks if len(token) > 1],
        },
    }
