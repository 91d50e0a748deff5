//! Trained models, audits of them, and pages.

use std::path::Path;

use super::{Maker, absent, unique};
use crate::scene::{Call, Place, Scene};
use crate::{data, program, tree};

const TRAIN: &str = "lab train shards-in --layers 1 --width 16 --heads 1 --mlp-width 32 --sequence-length 64 --steps 30 \
                     --batch 2 --checkpoint-every 1 --threads 1 --output model-out";
/// Thirty steps don't make a language model of anything.
const AUDIT: &str = "audit shards-in --model model-in --prefix 8 --suffix 8 --metrics exact-match --threads 1 \
                     --allow-tokenizer-mismatch --output run-out";

pub(super) fn scenes(maker: &Maker) -> Vec<Scene> {
    let mut scenes = trained(maker);
    scenes.extend(audited(maker));
    scenes.push(reported(maker));
    scenes
}

/// Shards with few ids, without the long document.
fn shards(folder: &Path, seed: u64) {
    data::documents(&folder.join("docs-in"), seed);
    let line = format!("mask docs-in/a.jsonl --rule hash --on-error skip --seed {seed} --output shards-in");
    Call::new("mask", 1, &line, &[]).make(folder);
}

fn train(seed: u64, output: &str) -> Call {
    let line = TRAIN.replace("model-out", output);
    Call::new("train", 0, &format!("{line} --vocab-size {} --seed {seed}", data::VOCABULARY), &[])
}

fn trained(maker: &Maker) -> Vec<Scene> {
    let mut fresh = maker.make("train", shards);
    let mut finished = maker.make("train-finished", |folder, seed| {
        shards(folder, seed);
        train(seed, "model-out").make(folder);
        std::fs::write(folder.join("model-out/mine.dat"), "the user's own\n").unwrap();
    });
    let mut unfinished = maker.make("train-unfinished", |folder, seed| {
        shards(folder, seed);
        let state = folder.join("model-out/training/state.safetensors");
        program::kill_at(folder, &train(seed, "model-out").arguments, &state);
        assert!(state.is_file() && !folder.join("model-out/training.json").exists(), "not killed in between");
    });
    let call = Call { name: "plain", writes: vec!["model-out".into()], ..train(0, "model-out") };
    let calls = |plain: i32| vec![Call { code: plain, ..call.clone() }, call.with("resume", 0, "--resume")];
    let partial = [
        "training.json.partial",
        "config.json.partial",
        "model.safetensors.partial",
        "training/state.safetensors.partial",
    ];
    let output = |like: &str| Place { like: Some(like.into()), ..Place::argument("model-out") };
    fresh.commands = calls(0);
    fresh.places = vec![output("train-finished/model-out")];
    fresh.places.extend(maker.found_elsewhere("train-unfinished", "model-out"));
    fresh.places.extend(maker.found("train", "shards-in"));
    fresh.places.extend(absent("model-out", &partial));
    fresh.places = unique(fresh.places);

    finished.commands = calls(2);
    finished.places = vec![Place::argument("model-out")];
    finished.places.extend(maker.found("train-finished", "model-out"));
    finished.places.extend(maker.found_elsewhere("train-unfinished", "model-out"));
    finished.places.extend(absent("model-out", &partial));
    finished.places = unique(finished.places);

    unfinished.commands = calls(2);
    unfinished.places = vec![Place::argument("model-out")];
    unfinished.places.extend(maker.found("train-unfinished", "model-out"));
    unfinished.places.extend(maker.found_elsewhere("train-finished", "model-out"));
    unfinished.places.extend(absent("model-out", &partial));
    unfinished.places = unique(unfinished.places);
    vec![fresh, finished, unfinished]
}

fn audited(maker: &Maker) -> Vec<Scene> {
    let prepare = |folder: &Path, seed: u64| {
        shards(folder, seed);
        train(seed, "model-in").make(folder);
    };
    let audit = Call::new("plain", 0, AUDIT, &["run-out"]);
    let seeded = |seed: u64| audit.with("plain", 0, &format!("--seed {seed}"));
    let mut fresh = maker.make("audit", prepare);
    let mut finished = maker.make("audit-finished", |folder, seed| {
        prepare(folder, seed);
        seeded(seed).make(folder);
        std::fs::write(folder.join("run-out/mine.dat"), "the user's own\n").unwrap();
    });
    let mut unfinished = maker.make("audit-unfinished", |folder, seed| {
        prepare(folder, seed);
        seeded(seed).make(folder);
        // As if the run had been killed right before its end.
        let run = folder.join("run-out");
        std::fs::create_dir_all(run.join("segments")).unwrap();
        std::fs::rename(run.join("results.parquet"), run.join("segments/000000.parquet")).unwrap();
        std::fs::rename(run.join("evidence.jsonl"), run.join("segments/000000.jsonl")).unwrap();
        tree::remove(&run.join("summary.json"));
        tree::remove(&run.join("SHA256SUMS"));
    });
    let calls = |plain: i32| vec![Call { code: plain, ..audit.clone() }, audit.with("resume", 0, "--resume")];
    let partial = [
        ".config.json.part",
        ".probes.parquet.part",
        ".self-test.json.part",
        ".origin.json.part",
        ".results.parquet.part",
        ".summary.json.part",
        ".SHA256SUMS.part",
        ".evidence.jsonl.part",
        "segments/.000000.parquet.part",
        "segments/.000000.jsonl.part",
        "segments/000007.parquet",
    ];
    let output = |like: &str| Place { like: Some(like.into()), ..Place::argument("run-out") };
    let run = || {
        let mut places = maker.found_elsewhere("audit-finished", "run-out");
        places.extend(maker.found_elsewhere("audit-unfinished", "run-out"));
        places.extend(absent("run-out", &partial));
        places
    };
    fresh.commands = calls(0);
    fresh.places = vec![output("audit-finished/run-out"), Place::argument("model-in")];
    fresh.places.extend(maker.found("audit", "model-in"));
    fresh.places.extend(maker.found("audit", "shards-in"));
    fresh
        .places
        .extend(absent("run-out", &["segments", ".lock", "config.json", "summary.json", "SHA256SUMS"]));
    fresh.places.extend(absent("run-out", &partial));
    let unread = [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "model.safetensors.index.json",
        "adapter_config.json",
    ];
    fresh.places.extend(absent("model-in", &unread));
    fresh.places = unique(fresh.places);

    finished.commands = calls(2);
    finished.commands.push(Call::new("report", 0, "report run-out --output page.html", &["page.html"]));
    finished.places = vec![Place::argument("run-out")];
    finished.places.extend(maker.found("audit-finished", "run-out"));
    finished.places.extend(run());
    finished.places = unique(finished.places);

    unfinished.commands = calls(2);
    unfinished.places = vec![Place::argument("run-out")];
    unfinished.places.extend(maker.found("audit-unfinished", "run-out"));
    unfinished.places.extend(run());
    unfinished.places = unique(unfinished.places);
    vec![fresh, finished, unfinished]
}

fn reported(maker: &Maker) -> Scene {
    let mut scene = maker.make("pages", |folder, seed| {
        shards(folder, seed);
        train(seed, "model-in").make(folder);
        train(seed + 2, "model-b").make(folder);
        Call::new("audit", 0, &AUDIT.replace("run-out", "run-in"), &[]).make(folder);
        let second = AUDIT.replace("run-out", "run-b").replace("model-in", "model-b");
        Call::new("audit", 0, &second, &[]).make(folder);
        std::fs::write(folder.join("other.html"), "<html>the page of another run</html>\n").unwrap();
    });
    scene.commands = vec![
        Call::new("report", 0, "report run-in --output page.html", &["page.html"]),
        Call::new("compare", 0, "compare run-in run-b --html page.html", &["page.html"]),
        Call::new("inspect", 0, "inspect shards-in --html page.html", &["page.html"]),
    ];
    scene.places = vec![
        Place { like: Some("pages/other.html".into()), ..Place::argument("page.html") },
        Place::absent("page.html.partial", "pages/other.html"),
        Place::argument("run-in"),
    ];
    scene.places.extend(maker.found("pages", "run-in"));
    scene.places.extend(maker.found("pages", "shards-in"));
    scene
}
