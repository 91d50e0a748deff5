"""The files of a release, as `cargo xtask release` writes them, where there is no compiler and next to nothing else."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from product import executable, folder_bytes

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="programs without shared libraries are for Linux")

COMPLETIONS = {
    "bash": "goldfish.bash",
    "elvish": "goldfish.elv",
    "fish": "goldfish.fish",
    "powershell": "_goldfish.ps1",
    "zsh": "_goldfish",
}
# Runs a command in another root folder, which takes root or a user namespace.
CHROOT = ["chroot"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "chroot"]


def run(*command, **options):
    """What a command prints."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def release():
    folder = os.environ.get("GOLDFISH_RELEASE")
    assert folder, "GOLDFISH_RELEASE: set it to the folder that `cargo xtask release` prints, as `cargo xtask loops package` does"
    return Path(folder)


@pytest.fixture(scope="module")
def archive(release):
    (path,) = release.glob("goldfish-*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(release):
    (path,) = release.glob("goldfish-*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="tar")
    (only,) = folder.iterdir()
    assert only.name == archive.name.removesuffix(".tar.gz")
    return only


@pytest.fixture
def empty_root(unpacked, tmp_path):
    """A folder with the program and what a test adds to it, and the command that runs the program there."""
    folder = tmp_path / "root"
    folder.mkdir()
    shutil.copy2(unpacked / "goldfish", folder / "goldfish")
    return folder, [*CHROOT, folder, "/goldfish"]


def test_archive(archive, unpacked, repository):
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert all(member.isfile() for member in members)
    names = [member.name for member in members]
    assert names == sorted(names)
    assert {(member.uid, member.gid, member.uname, member.mtime) for member in members} == {(0, 0, "", 315532800)}
    assert {member.mode for member in members if not member.name.endswith("/goldfish")} == {0o644}
    assert (unpacked / "goldfish").stat().st_mode & 0o777 == 0o755
    texts = {"CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"}
    for name in texts:
        assert (unpacked / name).read_bytes() == (repository / name).read_bytes()
    folders = {"completions", "man"}
    others = (unpacked / "LICENSES-OF-OTHERS.txt").read_text()
    for crate in ("arrow-array", "ring", "tokenizers", "zstd-sys"):
        assert len(re.findall(rf"^{crate} [0-9.+a-z]+(: |$)", others, re.M)) >= 2, crate
    assert "\ngoldfish" not in others
    assert {path.name for path in unpacked.iterdir()} - {"Containerfile"} == texts | folders | {"goldfish", "LICENSES-OF-OTHERS.txt"}


def test_checksums(release, archive, wheel):
    lines = dict(line.split("  ")[::-1] for line in (release / "SHA256SUMS").read_text().splitlines())
    assert lines == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (archive, wheel)}


def test_completions_and_pages_are_those_of_the_program(unpacked, tmp_path):
    found = {path.name: path.read_text() for path in (unpacked / "completions").iterdir()}
    assert found == {name: run(unpacked / "goldfish", "completions", shell) for shell, name in COMPLETIONS.items()}
    run(unpacked / "goldfish", "man", tmp_path)
    pages = folder_bytes(unpacked / "man")
    assert pages == folder_bytes(tmp_path) and {"goldfish.1", "goldfish-mask.1"} <= pages.keys()


@on_linux
def test_program_needs_no_libraries(empty_root, goldfish, fixtures, tmp_path):
    """Its shards are those of the ordinary build, which needs the C library."""
    folder, program = empty_root
    assert "libc.so" in run("ldd", goldfish.binary) and "libc.so" not in run("ldd", folder / "goldfish")
    assert re.match(r"goldfish \d+\.\d+\.\d+", run(*program, "--version"))
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    for place in (folder, ordinary):
        for name in ("corpus", "tokenizers", "formats"):
            shutil.copytree(fixtures / name, place / name)
    for number, words in enumerate([
        "mask corpus --tokenizer tokenizers/gpt2.json --append-eos --threads 2",
        "mask corpus/prose.jsonl --tokenizer tokenizers/llama3.json --rule hash --output-format parquet",
        "mask formats/ids.jsonl --ids-column input_ids --rule anchor --columns labels",
    ]):
        arguments = [*words.split(), "--output", f"masked-{number}"]
        run(*program, *arguments)
        goldfish.run(*arguments, cwd=ordinary)
        made = folder_bytes(folder / f"masked-{number}")
        assert made == folder_bytes(ordinary / f"masked-{number}") and "manifest.json" in made


@contextlib.contextmanager
def server():
    """A llama.cpp server whose model always says 7: its port, and the paths that it was asked for."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
            asked.append(self.path)
            answers = {
                "/props": lambda: {"default_generation_settings": {"n_ctx": 4096}, "model_path": "seven.gguf"},
                "/completion": lambda: self.continued(body),
            }
            found = self.path in answers
            text = json.dumps(answers[self.path]() if found else {}).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET

        def continued(self, body):
            prompts = body["prompt"] if isinstance(body["prompt"][0], list) else [body["prompt"]]
            tokens = [7] * body["n_predict"]
            made = [{"index": i, "tokens": tokens, "tokens_evaluated": len(ids)} for i, ids in enumerate(prompts)]
            return made if isinstance(body["prompt"][0], list) else made[0]

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running.server_address[1], asked
        running.shutdown()


@on_linux
def test_program_finds_a_server_by_its_name(empty_root, fixtures):
    folder, program = empty_root
    (folder / "etc").mkdir()
    (folder / "etc/hosts").write_text("127.0.0.1 models.example\n")
    shutil.copy2(fixtures / "formats/ids.jsonl", folder)
    with server() as (port, asked):
        command = [*program, "audit", "ids.jsonl", "--server", f"http://models.example:{port}", "--json"]
        found = json.loads(run(*command, "--prefix", 16, "--suffix", 8, "--output", "run"))
        unknown = subprocess.run(
            [*map(str, program), "audit", "ids.jsonl", "--server", f"http://nowhere.example:{port}", "--output", "other"],
            capture_output=True, text=True, timeout=60,
        )
    assert found["model"]["backend"] == "llama-cpp" and found["model"]["name"] == "seven.gguf"
    assert "/completion" in asked
    assert unknown.returncode == 2 and "nowhere.example" in unknown.stderr, unknown.stderr


@on_linux
def test_container(unpacked, tmp_path, fixtures):
    if shutil.which("buildah") is None:
        pytest.skip("no builder of containers: install buildah")
    buildah = ["buildah", "--storage-driver", "vfs", "--root", tmp_path / "images", "--runroot", tmp_path / "state"]
    run(*buildah, "build", "--isolation", "chroot", "--tag", "goldfish", "--file", unpacked / "Containerfile", unpacked)
    settings = json.loads(run(*buildah, "inspect", "--type", "image", "goldfish"))["OCIv1"]["config"]
    assert settings["Entrypoint"] == ["/goldfish"] and settings["User"] == "65532:65532"
    container = run(*buildah, "from", "--pull-never", "goldfish").strip()
    data = tmp_path / "data"
    shutil.copytree(fixtures / "formats", data)
    data.chmod(0o777)
    mask = ["mask", "ids.jsonl", "--ids-column", "input_ids", "--rule", "hash", "--output", "masked"]
    run(*buildah, "run", "--isolation", "chroot", "--volume", f"{data}:/data", container, "--", "/goldfish", *mask)
    made = data / "masked/manifest.json"
    assert json.loads(made.read_text())["totals"]["dropped"] > 0 and made.stat().st_uid == 65532
    run(*buildah, "rm", container)


def test_wheel_needs_no_compiler(wheel, tmp_path):
    run(Path(sys.executable).resolve(), "-m", "venv", tmp_path / "venv")
    tools = {"PATH": str(tmp_path / "venv/bin"), "HOME": str(tmp_path), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    assert all(shutil.which(name, path=tools["PATH"]) is None for name in ("cargo", "rustc", "cc", "gcc", "clang"))
    run(tmp_path / "venv/bin/pip", "install", "--no-index", wheel, env=tools)
    code = "import goldfish; m = goldfish.Masker(rule='hash').mask([list(range(400))])[0]; print(len(m), 0 < m.count(0) < 400)"
    assert run(tmp_path / "venv/bin/python", "-c", code, env=tools, cwd=tmp_path) == "400 True\n"
    if sys.platform == "linux":
        assert "-manylinux_" in wheel.name and "-abi3-" in wheel.name


# Files that a crate's code includes.
INCLUDED = re.compile(r'include_(?:str|bytes)!\(\s*"([^"]+)"')


def test_crates_can_be_published(repository, tmp_path):
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--offline", "--format-version", "1", cwd=repository))
    published = [package for package in metadata["packages"] if package["publish"] is None]
    assert {package["name"] for package in metadata["packages"] if package not in published} == {"xtask", "goldfish-python"}
    assert all(package["description"] and package["license"] for package in published)
    excluded = ["--exclude", "xtask", "--exclude", "goldfish-python"]
    options = ["--no-verify", "--allow-dirty", "--offline", "--locked", "--target-dir", tmp_path]
    run("cargo", "package", "--workspace", *excluded, *options, cwd=repository)
    crates = {path.name: path for path in (tmp_path / "package").glob("*.crate")}
    assert crates.keys() == {f"{package['name']}-{package['version']}.crate" for package in published}
    included = 0
    for path in crates.values():
        with tarfile.open(path) as tar:
            files = {member.name: tar.extractfile(member).read() for member in tar.getmembers() if member.isfile()}
        for name in filter(lambda name: name.endswith(".rs"), files):
            for other in INCLUDED.findall(files[name].decode()):
                needed = os.path.normpath(os.path.join(os.path.dirname(name), other))
                assert needed in files, f"{path.name} has {name}, which includes {other}, but not that file"
                included += 1
    assert included > 10


def test_workflow(repository):
    """Its steps are commands that exist; its actions and its Rust have versions."""
    workflow = yaml.safe_load((repository / ".github/workflows/release.yml").read_text())
    # YAML 1.1 takes the key `on` for a truth value.
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    for action in (step["uses"] for step in steps if "uses" in step):
        assert re.fullmatch(r"actions/[a-z-]+@v\d+\.\d+\.\d+", action), action
    scripts = [step["run"] for step in steps if "run" in step]
    assert len(scripts) + sum("uses" in step for step in steps) == len(steps)
    toolchain = re.search(r'^rust-version = "(.+)"$', (repository / "Cargo.toml").read_text(), re.M)[1]
    tasks = 0
    for script in scripts:
        run("bash", "-n", "-c", script)
        for line in script.strip().splitlines():
            words = line.split()
            assert words[0] in {"cargo", "cat", "docker", "echo", "gh", "rustup", "tar", "{"}, line
            if words[0] == "rustup":
                assert toolchain in words, line
            if words[0] == "cargo":
                assert words[1] == "xtask"
                tasks += 1
                known = run(executable("GOLDFISH_XTASK"), words[2], "--help")
                assert all(word in known for word in words[3:] if word.startswith("--")), line
    assert tasks == 1
