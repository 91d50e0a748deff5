//! What is read beside documents: tokenizers, tables, files of every format.

use std::fs;

use super::{Maker, absent};
use crate::data;
use crate::scene::{Call, Place, Scene};

pub(super) fn scenes(maker: &Maker) -> Vec<Scene> {
    vec![formats(maker), texts(maker), tables(maker)]
}

/// Files of every format of token ids in one folder.
fn formats(maker: &Maker) -> Scene {
    let mut scene = maker.make("formats", |folder, seed| {
        let corpus = folder.join("docs-in");
        fs::create_dir_all(&corpus).unwrap();
        for (number, name) in
            ["ids-list-i32.parquet", "ids-stream.arrow", "ids-file.arrow", "ids.jsonl"].iter().enumerate()
        {
            // The other run has no such file, but another one of the same format where there is one.
            let from = if seed == 1 && *name == "ids-stream.arrow" { "ids-file.arrow" } else { name };
            let ending = name.rsplit_once('.').unwrap().1;
            fs::copy(data::fixtures().join("formats").join(from), corpus.join(format!("{number}.{ending}")))
                .unwrap();
        }
    });
    let line = "mask docs-in --rule hash --threads 1 --output shards-out";
    scene.commands = vec![Call::new("mask", 0, line, &["shards-out"])];
    scene.places = maker.found("formats", "docs-in");
    scene
}

/// Raw text with a tokenizer.
fn texts(maker: &Maker) -> Scene {
    let mut scene = maker.make("texts", |folder, seed| {
        let formats = data::fixtures().join("formats");
        fs::create_dir_all(folder.join("docs-in")).unwrap();
        fs::create_dir_all(folder.join("tokenizer-in")).unwrap();
        let lines = fs::read_to_string(formats.join("docs.jsonl")).unwrap();
        let some: Vec<&str> = lines.lines().skip(3 * seed as usize).take(3).collect();
        fs::write(folder.join("docs-in/a.jsonl"), some.join("\n") + "\n").unwrap();
        let text = if seed == 0 { "023-notes-001.txt" } else { "024-notes-004.txt" };
        fs::copy(formats.join("docs-text").join(text), folder.join("docs-in/b.txt")).unwrap();
        let name = if seed == 0 { "gpt2.json" } else { "neox.json" };
        let tokenizers = data::fixtures().join("tokenizers");
        fs::copy(tokenizers.join(name), folder.join("tokenizer-in/tokenizer.json")).unwrap();
        let config = "{\"eos_token\": \"<|endoftext|>\"}\n";
        fs::write(folder.join("tokenizer-in/tokenizer_config.json"), config).unwrap();
        fs::write(folder.join("tokenizer-in/special_tokens_map.json"), config).unwrap();
    });
    let line =
        "mask docs-in --tokenizer tokenizer-in/tokenizer.json --append-eos --threads 1 --output shards-out";
    scene.commands = vec![Call::new("mask", 0, line, &["shards-out"])];
    scene.places = maker.found("texts", "docs-in");
    scene.places.push(Place::argument("tokenizer-in/tokenizer.json"));
    scene.places.extend(absent(
        "tokenizer-in",
        &["tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"],
    ));
    scene
}

fn tables(maker: &Maker) -> Scene {
    let mut scene = maker.make("tables", |folder, seed| {
        data::documents(&folder.join("docs-in"), seed);
        data::tables(folder, seed);
    });
    let table = "mask docs-in/z.jsonl --rule hash-table --table table.npy --threads 1 --output shards-out";
    let sum = "mask docs-in/z.jsonl --rule coefficient-sum --table table.npy --coefficients coefficients.npy --threads 1 \
               --output shards-out";
    scene.commands = vec![
        Call::new("table", 0, table, &["shards-out"]),
        Call::new("coefficients", 0, sum, &["shards-out"]),
    ];
    scene.places = vec![Place::argument("table.npy"), Place::argument("coefficients.npy")];
    scene
}
