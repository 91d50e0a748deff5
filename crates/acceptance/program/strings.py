"""Random and hand-picked strings for the comparison of tokenizers."""

import random

ADDED = [
    "<|endoftext|>", "<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|im_start|>", "<tool_call>", "</tool_call>",
    "<|endofprompt|>", "<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "<|padding|>", "<|fim_prefix|>",
]  # fmt: skip
FRAGMENTS = [
    "don't", "I'LL", "we'Ve", "it\u2019s", "HTTPServer", "snake_case", "naïve", "Straße", "ΑΒγδ", "Ǆǅǆ", "İstanbul", "ﬁne",
    "e\u0301", "a\u0308\u0323", "\u1e9b\u0323", "\u212b", "각", "\u1100\u1161\u11a8", "क्षि", "ก็", "नमस्ते", "مرحبا\u064b",
    "日本語", "こんにちは", "カタカナ", "ﾊﾝｶｸ", "漢字かな", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "👍🏽", "1️⃣", "½", "²³", "Ⅷ", "٣٤٥", "१२३", "①②", "𝟘𝟙",
    "𝔘𝔫𝔦", "\u200b", "\u200d", "\ufeff", "\u00ad", "\u202e", "\u2060", "\ufffd", "\ufffe", "\U0010ffff", "\ue000", "\x00", "\x1b[0m",
    "\r\n", "\n\n\n", "\n \n", "\t\t", "   ", " \u00a0 ", "\u3000", "\u2028", "\u2029", "\x85", "\x0b\x0c", " " * 17, "123456789", "3.14159",
    "//", "/*", "*/\n", "!=", "===", "{{}}", "->", "...", "—", "«»", "\u0332_\u0332", "̈", "a" * 40, "\u2581", "\u2581\u2581", "Ġ", "Ċ",
]  # fmt: skip
# Ranges of code points to draw characters from, without surrogates.
RANGES = [
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x00, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x36F), (0x370, 0x52F),
    (0x530, 0x6FF), (0x700, 0xDFF), (0xE00, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x2FFF),
    (0x3000, 0x30FF), (0x3100, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF),
    (0x1F300, 0x1FAFF), (0x20000, 0x3FFFF), (0x40000, 0x10FFFF),
]  # fmt: skip


def _character(source):
    first, last = source.choice(RANGES)
    return chr(source.randint(first, last))


def _word(source):
    return "".join(source.choice("etaoinshrdlucmfwyp") for _ in range(source.randint(1, 9)))


def _piece(source):
    kind = source.random()
    if kind < 0.30:
        return source.choice([" ", "", "\n"]) + _word(source)
    if kind < 0.60:
        return _character(source)
    if kind < 0.85:
        return source.choice(FRAGMENTS)
    if kind < 0.90:
        return _character(source) * source.randint(2, 9)
    if kind < 0.93:
        return source.choice(ADDED)
    first, last = source.choice(RANGES)
    return "".join(chr(source.randint(first, last)) for _ in range(source.randint(2, 12)))


def random_strings(count, seed):
    """`count` strings of 1 to 14 pieces each, deterministic for a seed."""
    source = random.Random(seed)
    return ["".join(_piece(source) for _ in range(source.randint(1, 14))) for _ in range(count)]


def adversarial_strings():
    """Strings that have broken tokenizers before."""
    every_control = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)]))
    return [
        "",
        " ",
        "\n",
        "\x00",
        every_control,
        *every_control,
        *FRAGMENTS,
        *(f"{token}" for token in ADDED),
        *(f" {token} {token}{token}\n" for token in ADDED),
        "<|endoftext|" + ">" * 3,
        "<<|endoftext|>>",
        "e" + "\u0301" * 500,
        "o\u0323\u0302 \u1ed9 o\u0302\u0323",
        "\u0344\u0958\u2126\ufb1d\U0001d15e",
        "".join(f"{a}\u0308" for a in "aeiouyAEIOUY") * 20,
        "👩‍👩‍👧‍👦" * 100,
        "日本語" * 400,
        "漢" * 3000,
        "a" * 100_000,
        " " * 50_000,
        "\n" * 20_000,
        "ab" * 60_000 + " end",
        "9" * 10_001,
        "\t \t\n" * 5000,
        "".join(FRAGMENTS),
        " ".join(FRAGMENTS),
        "".join(chr(c) for c in range(0x20, 0x3000)),
        "".join(chr(c) + " " for c in range(0xA0, 0x2000)),
        "[UNK]" + "x" * 101 + " " + "y" * 100,
        "word\r\nword\rword\n\rword",
        "\ufeffbyte order mark",
        "trailing space ",
        "  two  spaces  ",
    ]
