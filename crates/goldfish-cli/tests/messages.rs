//! Exit codes and messages of the program: what it refuses, and what it says to do.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// Runs commands in a folder of its own.
struct Terminal(tempfile::TempDir);

impl Terminal {
    /// A folder with a few inputs: token ids in `ids.jsonl`, a row of which is bad in `bad.jsonl`, text in `docs.jsonl` and `docs.parquet`,
    /// and a tokenizer.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        let row = |seed: u64| {
            let ids: Vec<u64> = (0..60).map(|token| (seed * 7919 + token * token * 31) % 5000).collect();
            format!("{{\"input_ids\": {ids:?}, \"source\": \"web\"}}\n")
        };
        let ids: String = (0..20).map(row).collect();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("ids.jsonl", &ids);
        write("bad.jsonl", &(ids + "{\"input_ids\": [-1]}\n"));
        write("docs.jsonl", "{\"text\": \"The lamp was lit.\"}\n");
        write("shard.data", "");
        write("no-json.json", "{");
        for (source, name) in
            [("tokenizers/gpt2.json", "gpt2.json"), ("formats/docs.parquet", "docs.parquet")]
        {
            fs::copy(fixtures.join(source), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a command, given as one line, and returns its two outputs.
    fn run(&self, command: &str, code: i32) -> (String, String) {
        let program = env!("CARGO_BIN_EXE_goldfish");
        let arguments = command.split_whitespace();
        let output = Command::new(program).args(arguments).current_dir(self.0.path()).output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(output.status.code(), Some(code), "goldfish {command}: {stdout}{stderr}");
        assert!(!stderr.contains("panicked"), "goldfish {command}: {stderr}");
        (stdout, stderr)
    }

    fn succeeds(&self, command: &str) -> String {
        self.run(command, 0).0
    }

    /// A command that can't run: it says so in these words, and changes nothing.
    fn refuses(&self, command: &str, words: &[&str]) {
        let before = files(self.0.path());
        let (_, message) = self.run(command, 2);
        for word in words {
            assert!(message.contains(word), "goldfish {command}: no {word:?} in {message}");
        }
        assert!(message.lines().any(|line| line.starts_with("error: ")), "goldfish {command}: {message}");
        assert_eq!(files(self.0.path()), before, "goldfish {command}");
    }
}

/// Every file and folder below a folder, with its contents.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path.clone());
                found.insert(path, Vec::new());
            } else {
                let contents = fs::read(&path).unwrap();
                found.insert(path, contents);
            }
        }
    }
    found
}

#[test]
fn help() {
    let terminal = Terminal::new();
    let commands =
        ["", "demo", "mask", "merge", "export", "inspect", "verify", "audit", "audit plan", "report"];
    let more =
        ["compare", "canary", "canary plant", "canary test", "lab", "lab train", "lab sweep", "lab corrupt"];
    for command in [&commands[..], &more].concat() {
        assert!(terminal.succeeds(&format!("{command} --help")).contains("Usage: goldfish"), "{command}");
    }
}

#[test]
fn masks_that_can_not_be_made() {
    let terminal = Terminal::new();
    let tokenizer = "--tokenizer gpt2.json";
    let large = "large.jsonl";
    fs::write(terminal.path(large), "{\"input_ids\": [1, 2, 60000]}\n").unwrap();
    let cases: &[(&str, &[&str])] = &[
        ("nowhere.jsonl", &["nowhere.jsonl: no such file or folder"]),
        ("shard.data", &["shard.data: ", "--format"]),
        ("ids.jsonl ids.jsonl", &["ids.jsonl: given twice"]),
        ("docs.jsonl", &["input_ids"]),
        (
            "docs.jsonl --text-column text",
            &["raw text needs a tokenizer; give --tokenizer, or give --ids-column"],
        ),
        ("docs.jsonl --tokenizer nowhere.json", &["nowhere.json"]),
        ("docs.jsonl --tokenizer no-json.json", &["no-json.json"]),
        ("large.jsonl --ids-column input_ids --tokenizer gpt2.json", &["60000"]),
        ("ids.jsonl --k 0", &["k is 0"]),
        ("ids.jsonl --k 1", &["k is 1"]),
        ("ids.jsonl --context 0", &["context is 0"]),
        ("ids.jsonl --seed=-1", &["--seed"]),
        ("ids.jsonl --rule haddock", &["'haddock'", "coefficient-sum"]),
        ("ids.jsonl --color red", &["'red' for '--color <auto|always|never>'"]),
        ("ids.jsonl --log-format xml", &["'xml' for '--log-format <text|json>'"]),
        ("ids.jsonl --progress 0", &["'--progress <auto|never|SECONDS>'", "whole number of seconds"]),
        ("ids.jsonl --columns tags", &["'tags'", "attention_mask"]),
        ("ids.jsonl --columns labels,labels", &["two columns \"labels\""]),
        ("ids.jsonl --carry source,source", &["two columns \"source\""]),
        ("ids.jsonl --carry input_ids", &["input_ids", "--carry"]),
        ("ids.jsonl --id-column input_ids", &["input_ids"]),
        ("ids.jsonl --shard-size 0", &["--shard-size", "1 byte"]),
        ("ids.jsonl --shard-size 1", &["--shard-size", "4KiB at least"]),
        (
            "docs.jsonl --tokenizer openai-community/gpt2",
            &["hf download openai-community/gpt2 tokenizer.json"],
        ),
        ("ids.jsonl --shard-size large", &["--shard-size", "'large'"]),
        ("ids.jsonl --max-document 2GiB", &["no document may have more than 2147483647 bytes"]),
        (
            "ids.jsonl --rule static --unit word",
            &["the rule is static", "leave out --unit, or give --rule text"],
        ),
        ("ids.jsonl --append-eos", &["token ids are masked as they are", "leave out --append-eos"]),
        (
            "docs.jsonl --tokenizer gpt2.json --eos-id 99999",
            &["99999", "vocabulary of 2457", "another --eos-id"],
        ),
        ("ids.jsonl --exempt-special", &["give --tokenizer, or give --eos-id and --bos-id"]),
        (
            "ids.jsonl --rule coefficient-sum",
            &["needs the training run's coefficients", "give --coefficients"],
        ),
        ("ids.jsonl --rule hash-table --scope sequence", &["give --sequence-length"]),
        ("ids.jsonl --sequence-length 64", &["give --scope sequence, or leave out --sequence-length"]),
        ("ids.jsonl --rank 0", &["--world"]),
        ("ids.jsonl --world 3", &["--rank"]),
        ("ids.jsonl --rank 3 --world 3", &["rank 3 among 3"]),
        ("ids.jsonl --rank 0 --world 0", &["--world"]),
        (
            "ids.jsonl --rank 0 --world 2 --scope sequence --sequence-length 9",
            &["leave out --rank and --world"],
        ),
        ("ids.jsonl --resume --overwrite", &["'--resume' cannot be used with '--overwrite'"]),
        ("ids.jsonl --masks-only --carry source", &["cannot be used"]),
        ("ids.jsonl --masks-only", &["memmaps"]),
        ("bad.jsonl", &["bad.jsonl: row 20", "--on-error skip"]),
    ];
    for (arguments, words) in cases {
        terminal.refuses(&format!("mask {arguments} --output out"), words);
    }
    terminal.refuses("mask ids.jsonl", &["--output"]);
    let typo = &["\"color\"", "choose another --carry"];
    terminal.refuses(&format!("mask docs.parquet {tokenizer} --carry color --output out"), typo);
    terminal.succeeds("mask ids.jsonl --max-document 2147483647 --output most");
    terminal.succeeds(&format!("mask {large} --output unchecked"));
}

#[test]
fn folders_that_are_taken() {
    let terminal = Terminal::new();
    terminal.succeeds("mask ids.jsonl --output out");
    terminal.refuses("mask ids.jsonl --output out --k 8", &["--overwrite"]);
    let words = &["k: 4 then, 8 now; keep --k as it was, or give --overwrite to start again"];
    terminal.refuses("mask ids.jsonl --output out --resume --k 8", words);
    let words =
        &["columns: 0 entries then, 1 now; seed: 0 then, 1 now", "keep --columns and --seed as they were"];
    terminal.refuses("mask ids.jsonl --output out --resume --seed 1 --columns labels", words);
    let words = &["rule: \"anchor\" then, \"hash\" now; keep --rule as it was"];
    terminal.refuses("mask ids.jsonl --output out --resume --rule hash", words);
    fs::write(terminal.path("more.jsonl"), "{\"input_ids\": [1]}\n").unwrap();
    let words = &["inputs: 1 entries then, 2 now", "\nGive the same inputs and options", "--overwrite"];
    terminal.refuses("mask ids.jsonl more.jsonl --output out --resume", words);
    terminal.succeeds("mask ids.jsonl --output out --k 8 --overwrite");
    let foreign = [("home", "thesis.txt", "years of work"), ("other", "manifest.json", "{\"my\": 1}")];
    for (folder, name, contents) in foreign {
        fs::create_dir(terminal.path(folder)).unwrap();
        fs::write(terminal.path(folder).join(name), contents).unwrap();
        terminal.refuses(&format!("mask ids.jsonl --output {folder}"), &[name]);
        terminal.refuses(&format!("mask ids.jsonl --output {folder} --overwrite"), &[name]);
    }
    // The output is never an input.
    fs::create_dir(terminal.path("corpus")).unwrap();
    fs::copy(terminal.path("ids.jsonl"), terminal.path("corpus/a.jsonl")).unwrap();
    terminal.succeeds("mask corpus --output corpus/out");
    terminal.refuses("mask corpus --output corpus/out --overwrite", &["output folder"]);
    terminal.refuses("mask corpus/a.jsonl --output corpus --overwrite", &["output folder"]);
}

#[test]
fn appended_ends_are_named_as_their_option() {
    let terminal = Terminal::new();
    terminal.succeeds("mask docs.jsonl --tokenizer gpt2.json --append-eos --output out");
    let words = &["append_eos: 2456 then, none now; keep --append-eos as it was"];
    terminal.refuses("mask docs.jsonl --tokenizer gpt2.json --output out --resume", words);
}

#[test]
fn complete_runs_and_empty_corpora_say_so() {
    let terminal = Terminal::new();
    let memmap: Vec<u8> = (0..200u16).flat_map(|token| (token % 50).to_le_bytes()).collect();
    fs::write(terminal.path("tokens.npy"), memmap).unwrap();
    for mask in ["mask ids.jsonl --output out", "mask tokens.npy --masks-only --eos-id 0"] {
        assert!(!terminal.succeeds(&format!("{mask} --resume")).contains("already complete"), "{mask}");
        let again = terminal.succeeds(&format!("{mask} --resume"));
        assert!(again.contains("\nalready complete: ") && !again.contains('–'), "{mask}: {again}");
        let json: Value =
            serde_json::from_str(&terminal.succeeds(&format!("{mask} --resume --json"))).unwrap();
        assert_eq!(json["already_complete"], true, "{mask}");
    }
    fs::write(terminal.path("empty.jsonl"), "").unwrap();
    let (_, stderr) = terminal.run("mask empty.jsonl --output nothing", 0);
    assert_eq!(stderr, "warning: there are no documents in the inputs\n");
}

/// The commands in docs/cli.md, which has all that are not hidden.
fn commands() -> Vec<String> {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let reference = fs::read_to_string(reference).unwrap();
    reference
        .lines()
        .filter_map(|line| Some(line.strip_prefix("## `")?.strip_suffix('`')?.to_owned()))
        .collect()
}

#[cfg(unix)]
#[test]
fn bash_completes_every_command() {
    let terminal = Terminal::new();
    fs::write(terminal.path("goldfish.bash"), terminal.succeeds("completions bash")).unwrap();
    let bash = |arguments: &[&str]| {
        let output = Command::new("bash").args(arguments).current_dir(terminal.0.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    bash(&["-n", "goldfish.bash"]);
    for command in commands().iter().filter(|command| command.contains(' ')) {
        let (parent, name) = command.rsplit_once(' ').unwrap();
        let words: Vec<&str> = parent.split(' ').collect();
        let complete = format!(
            "source ./goldfish.bash; COMP_WORDS=({parent} ''); COMP_CWORD={}; _goldfish goldfish '' {}; echo ${{COMPREPLY[@]}}",
            words.len(),
            words.last().unwrap(),
        );
        let found = bash(&["-c", &complete]);
        assert!(found.split_whitespace().any(|word| word == name), "{command}: {found}");
    }
    for shell in ["elvish", "fish", "powershell", "zsh"] {
        assert!(terminal.succeeds(&format!("completions {shell}")).contains("masks-only"), "{shell}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let terminal = Terminal::new();
    terminal.succeeds("man pages");
    for command in commands() {
        let page = terminal.path("pages").join(command.replace(' ', "-") + ".1");
        let page = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
    let taken = terminal.path("ids.jsonl").display().to_string();
    terminal.refuses(&format!("man {taken}"), &["manual pages can't be written there"]);
}

#[test]
fn every_command_tells_the_version() {
    let terminal = Terminal::new();
    let version = terminal.succeeds("--version");
    for words in
        [concat!("goldfish ", env!("CARGO_PKG_VERSION")), "\nfeatures ", "text-v2 1, ", "\nshard format  1\n"]
    {
        assert!(version.contains(words), "{words:?} in {version}");
    }
    for command in ["-V", "mask --version", "lab train -V", "mask --version --quiet --color always"] {
        assert_eq!(terminal.succeeds(command), version, "{command}");
    }
}

/// The messages on standard error with `--log-format json`.
fn messages(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn messages_are_json_on_request() {
    let terminal = Terminal::new();
    let (_, stderr) = terminal.run("mask ids.jsonl --k 0 --output out --log-format json", 2);
    let [error] = &messages(&stderr)[..] else { panic!("{stderr}") };
    assert_eq!(error["level"], "error");
    assert!(error["message"].as_str().unwrap().starts_with("k is 0"), "{error}");
    let (_, stderr) = terminal.run("--log-format json mask bad.jsonl --output out", 2);
    let [error] = &messages(&stderr)[..] else { panic!("{stderr}") };
    assert!(error["message"].as_str().unwrap().starts_with("bad.jsonl: row 20"), "{error}");
    assert!(error["details"][0].as_str().unwrap().contains("--on-error skip"), "{error}");
    // The arguments are wrong, before or after the option.
    for command in ["mask --log-format=json", "mask ids.jsonl --typo --log-format json"] {
        let (_, stderr) = terminal.run(command, 2);
        let [error] = &messages(&stderr)[..] else { panic!("{stderr}") };
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("required arguments") || message.contains("'--typo'"), "{error}");
        assert!(error["details"].to_string().contains("Usage: goldfish mask"), "{error}");
    }
    fs::create_dir(terminal.path("corpus")).unwrap();
    fs::copy(terminal.path("ids.jsonl"), terminal.path("corpus/ids.jsonl")).unwrap();
    fs::write(terminal.path("corpus/read.me"), "").unwrap();
    let (stdout, stderr) = terminal.run("mask corpus --output out --json --log-format json", 0);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap()["documents"], 20);
    let note = &messages(&stderr)[0];
    assert_eq!(note["level"], "note");
    assert!(note["message"].as_str().unwrap().contains("read.me is not read"), "{note}");
}

#[test]
fn quiet_leaves_the_result_and_errors() {
    let terminal = Terminal::new();
    fs::create_dir(terminal.path("corpus")).unwrap();
    fs::copy(terminal.path("ids.jsonl"), terminal.path("corpus/ids.jsonl")).unwrap();
    fs::write(terminal.path("corpus/read.me"), "").unwrap();
    let (loud, note) = terminal.run("mask corpus --output out", 0);
    assert!(note.contains("read.me is not read"), "{note}");
    let (quiet, nothing) = terminal.run("mask corpus --output out --overwrite --quiet", 0);
    assert_eq!((quiet, nothing), (loud, String::new()));
    terminal.refuses("mask corpus --output out -q", &["--overwrite"]);
}

#[test]
fn colors_are_as_asked() {
    let terminal = Terminal::new();
    for command in ["--help", "mask", "mask nowhere.jsonl --output out", "mask ids.jsonl --output out"] {
        for (color, expected) in [("always", true), ("never", false), ("auto", false)] {
            let code = if command.contains("help") || command.contains("ids") { 0 } else { 2 };
            let overwrite = if command.contains("ids") { "--overwrite" } else { "" };
            let (stdout, stderr) = terminal.run(&format!("{command} {overwrite} --color {color}"), code);
            assert_eq!((stdout + &stderr).contains("\u{1b}["), expected, "{command} --color {color}");
        }
    }
    let (_, stderr) = terminal.run("mask nowhere.jsonl --output out --color always --log-format json", 2);
    assert_eq!(messages(&stderr).len(), 1);
}

/// The first line of a long run that has this word.
fn line_of_a_long_run(terminal: &Terminal, options: &[&str], word: &str) -> String {
    // Every id ends a document, so that there are very many.
    let zeros = fs::File::create(terminal.path("zeros.npy")).unwrap();
    zeros.set_len(1 << 30).unwrap();
    let mask =
        ["mask", "zeros.npy", "--ids-dtype", "uint16", "--eos-id", "0", "--output", "out", "--overwrite"];
    let mut run = Command::new(env!("CARGO_BIN_EXE_goldfish"))
        .args(mask)
        .args(options)
        .current_dir(terminal.0.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(run.stderr.take().unwrap()).lines().map(Result::unwrap).take(60);
    let lines: Vec<String> = lines
        .scan(false, |found, line| (!std::mem::replace(found, line.contains(word))).then_some(line))
        .collect();
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(lines.last().is_some_and(|line| line.contains(word)), "{lines:?}");
    lines.last().unwrap().clone()
}

#[test]
fn a_long_run_without_a_terminal_says_how_far_it_is() {
    let terminal = Terminal::new();
    let line = line_of_a_long_run(&terminal, &["--progress", "1"], "documents");
    assert!(line.starts_with("progress: ") && line.contains("% of 1.00 GiB, "), "{line}");
    assert!(line.contains(" tokens, ") && line.contains(" so far, about "), "{line}");
    let line = line_of_a_long_run(&terminal, &["--progress", "1", "--log-format", "json"], "documents");
    let progress: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(progress["level"], "progress");
    let (fraction, elapsed) = (progress["fraction"].as_f64().unwrap(), progress["elapsed_seconds"].as_u64());
    assert!((0.0..1.0).contains(&fraction) && elapsed.unwrap() > 0, "{line}");
    assert!(progress["left_seconds"].as_u64().unwrap() > 0, "{line}");
}

#[test]
fn rejected_rows_and_damaged_shards_are_findings() {
    let terminal = Terminal::new();
    let (said, _) = terminal.run("mask bad.jsonl --on-error skip --output out", 1);
    assert!(said.contains("rejected") && said.contains("1 row of 21"), "{said}");
    assert!(terminal.succeeds("verify out").contains("out: sound"));
    let shard = terminal.path("out").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let shard = shard.into_iter().find(|path| path.extension().is_some_and(|end| end == "arrow")).unwrap();
    let mut bytes = fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let (said, _) = terminal.run("verify out", 1);
    let name = shard.file_name().unwrap().to_string_lossy();
    assert!(said.contains(&*name), "{said}");
    fs::remove_file(&shard).unwrap();
    let (said, _) = terminal.run("verify out --json", 1);
    assert!(said.contains("\"sound\": false") && said.contains(&*name), "{said}");
}

#[test]
fn folders_that_hold_nothing() {
    let terminal = Terminal::new();
    fs::create_dir(terminal.path("empty")).unwrap();
    terminal.succeeds("mask ids.jsonl --output out");
    for folder in ["nowhere", "empty"] {
        terminal.refuses(&format!("verify {folder}"), &[folder]);
        terminal.refuses(&format!("inspect {folder}"), &[folder, "no manifest.json"]);
        terminal.refuses(&format!("export {folder} --to olmo --output olmo"), &[folder, "no manifest.json"]);
        terminal.refuses(&format!("merge {folder} --output merged"), &[folder]);
        terminal.refuses(&format!("report {folder}"), &[folder]);
        terminal.refuses(&format!("compare {folder} {folder}"), &[folder]);
    }
    terminal.refuses("verify out --recompute --table nowhere.npy", &["nowhere.npy"]);
    terminal.refuses("inspect out --by absent", &["absent", "--carry"]);
    terminal.refuses("inspect out --duplicates", &["--tokenizer"]);
    terminal.refuses("inspect out --html absent/page.html", &["--html"]);
    terminal.refuses("export out --to nowhere --output olmo", &["'nowhere'", "megatron-labels"]);
    terminal.refuses("export out --to bridge --output packed", &["--sequence-length"]);
    terminal.refuses("audit out --output run", &["--model"]);
}
