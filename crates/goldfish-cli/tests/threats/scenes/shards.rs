//! Folders of shards, their parts, and what is exported from them.

use std::path::Path;

use super::{Maker, absent, unique};
use crate::replacement::Replacement;
use crate::scene::{Call, Place, Scene};
use crate::{data, program};

const MASK: &str = "mask docs-in --rule hash --shard-size 64KiB --on-error skip --threads 1";
const MERGE: &str = "merge parts-in/rank-00000-of-00002 parts-in/rank-00001-of-00002 --output joined-out";
const EXPORT: &str = "export shards-in --to olmo --output export-out";

/// Blocks of `ulimit -f` that all shards but the last one fit in.
const ALL_BUT_THE_LAST: u64 = 160;

/// Names that a planted staging folder may have, whatever this version writes there.
const STAGED: [&str; 8] = [
    ".partial/lock",
    ".partial/journal",
    ".partial/manifest.json",
    ".partial/rejects.jsonl",
    ".partial/state.json",
    ".partial/old",
    ".partial/old/manifest.json",
    ".partial/shard-00000",
];

pub(super) fn scenes(maker: &Maker) -> Vec<Scene> {
    let mut scenes = masked(maker);
    scenes.extend(merged(maker));
    scenes.extend(exported(maker));
    scenes
}

/// Masks `docs-in` to a folder.
fn mask(folder: &Path, seed: u64, output: &str) {
    data::documents(&folder.join("docs-in"), seed);
    Call::new("mask", 1, &format!("{MASK} --seed {seed} --output {output}"), &[]).make(folder);
}

/// The inputs as places, but for huge ones: with `--on-error skip` such a line is read to its end, which takes its time.
fn documents(maker: &Maker, scene: &str) -> impl Iterator<Item = Place> {
    let never = Some(Replacement::HugeFile);
    maker.found(scene, "docs-in").into_iter().map(move |place| Place { never, ..place })
}

fn masked(maker: &Maker) -> Vec<Scene> {
    let call = Call::new("plain", 1, &format!("{MASK} --output shards-out"), &["shards-out"]);
    let mut fresh = maker.make("shards", |folder, seed| data::documents(&folder.join("docs-in"), seed));
    let mut finished = maker.make("shards-finished", |folder, seed| {
        mask(folder, seed, "shards-out");
        std::fs::write(folder.join("shards-out/mine.dat"), "the user's own\n").unwrap();
    });
    let mut unfinished = maker.make("shards-unfinished", |folder, seed| {
        data::documents(&folder.join("docs-in"), seed);
        let seeded = call.with("plain", 1, &format!("--seed {seed}"));
        program::kill_at_size(folder, &seeded.arguments, ALL_BUT_THE_LAST);
        assert!(folder.join("shards-out/.partial/journal").is_file(), "nothing was recorded");
    });

    let calls = |plain: i32, resume: i32| {
        vec![
            Call { code: plain, ..call.clone() },
            call.with("resume", resume, "--resume"),
            call.with("overwrite", 1, "--overwrite"),
        ]
    };
    let staging = Place::absent("shards-out/.partial", "shards-unfinished/shards-out/.partial");
    fresh.commands = calls(1, 1);
    fresh.places = vec![Place::argument("docs-in")];
    fresh
        .places
        .push(Place { like: Some("shards-finished/shards-out".into()), ..Place::argument("shards-out") });
    fresh.places.extend(documents(maker, "shards"));
    fresh.places.push(staging.clone());
    fresh.places.extend(maker.found_elsewhere("shards-unfinished", "shards-out/.partial"));
    fresh.places.extend(maker.found_elsewhere("shards-finished", "shards-out"));
    fresh.places.extend(absent("shards-out", &STAGED));
    fresh.places = unique(fresh.places);

    finished.commands = calls(2, 1);
    finished.commands.push(Call::new("verify", 0, "verify shards-out", &[]));
    finished.commands.push(Call::new("inspect", 0, "inspect shards-out", &[]));
    finished.places = vec![Place::argument("shards-out"), staging];
    finished.places.extend(maker.found("shards-finished", "shards-out"));
    finished.places.extend(maker.found_elsewhere("shards-unfinished", "shards-out/.partial"));
    finished.places.extend(absent("shards-out", &STAGED));
    finished.places = unique(finished.places);

    unfinished.commands = calls(2, 1);
    unfinished.places = vec![Place::argument("shards-out")];
    unfinished.places.extend(maker.found("shards-unfinished", "shards-out"));
    unfinished.places.extend(documents(maker, "shards-unfinished"));
    unfinished.places.extend(maker.found_elsewhere("shards-finished", "shards-out"));
    unfinished.places.extend(absent("shards-out", &STAGED));
    unfinished.places = unique(unfinished.places);
    vec![fresh, finished, unfinished]
}

fn merged(maker: &Maker) -> Vec<Scene> {
    let parts = |folder: &Path, seed: u64| {
        data::documents(&folder.join("docs-in"), seed);
        for (rank, code) in [(0, 1), (1, 0)] {
            let line = format!("{MASK} --seed {seed} --output parts-in --world 2 --rank {rank}");
            Call::new("part", code, &line, &[]).make(folder);
        }
    };
    let mut fresh = maker.make("parts", parts);
    let merge = Call::new("merge", 1, MERGE, &["joined-out"]);
    let mut finished = maker.make("parts-joined", |folder, seed| {
        parts(folder, seed);
        merge.make(folder);
        std::fs::write(folder.join("joined-out/mine.dat"), "the user's own\n").unwrap();
    });
    let moving = |name, code, options: &str| {
        let mut call = merge.with(name, code, options);
        call.writes.push("parts-in".into());
        call
    };
    let staging = Place::absent("joined-out/.partial", "shards-unfinished/shards-out/.partial");
    fresh.commands =
        vec![merge.clone(), merge.with("overwrite", 1, "--overwrite"), moving("move", 1, "--move")];
    fresh.places =
        vec![Place { like: Some("parts-joined/joined-out".into()), ..Place::argument("joined-out") }];
    fresh
        .places
        .extend(["parts-in/rank-00000-of-00002", "parts-in/rank-00001-of-00002"].map(Place::argument));
    fresh.places.extend(maker.found("parts", "parts-in/rank-00000-of-00002"));
    fresh.places.push(Place::absent(
        "parts-in/rank-00000-of-00002/.partial",
        "shards-unfinished/shards-out/.partial",
    ));
    fresh.places.push(staging.clone());
    fresh.places.extend(maker.found_elsewhere("parts-joined", "joined-out"));
    fresh.places.extend(absent("joined-out", &STAGED));
    fresh.places = unique(fresh.places);

    finished.commands = vec![
        Call { code: 2, ..merge.clone() },
        merge.with("overwrite", 1, "--overwrite"),
        moving("move", 1, "--overwrite --move"),
    ];
    finished.places = vec![Place::argument("joined-out"), staging];
    finished.places.extend(maker.found("parts-joined", "joined-out"));
    finished.places.extend(absent("joined-out", &STAGED));
    finished.places = unique(finished.places);
    vec![fresh, finished]
}

fn exported(maker: &Maker) -> Vec<Scene> {
    let export = Call::new("plain", 0, EXPORT, &["export-out"]);
    let mut fresh = maker.make("export", |folder, seed| mask(folder, seed, "shards-in"));
    let mut finished = maker.make("export-finished", |folder, seed| {
        mask(folder, seed, "shards-in");
        export.make(folder);
        for name in ["mine.dat", "tokens/mine.dat"] {
            std::fs::write(folder.join("export-out").join(name), "the user's own\n").unwrap();
        }
    });
    let staged = [
        ".goldfish-partial/lock",
        ".goldfish-partial/journal",
        ".goldfish-partial/goldfish.json",
        ".goldfish-partial/tokens",
        ".goldfish-partial/tokens/part-00000.npy",
        ".goldfish-partial/old",
        ".goldfish-partial/old/goldfish.json",
    ];
    let staging =
        Place::absent("export-out/.goldfish-partial", "masks-unfinished/masks-out/.goldfish-partial");
    fresh.commands = vec![export.clone(), export.with("overwrite", 0, "--overwrite")];
    for layout in ["megatron", "datatrove", "torchtune", "hf"] {
        let line = format!("export shards-in --to {layout} --output export-out");
        fresh.commands.push(Call::new(layout, 0, &line, &["export-out"]));
    }
    fresh.places = vec![Place::argument("shards-in"), staging.clone()];
    fresh
        .places
        .push(Place { like: Some("export-finished/export-out".into()), ..Place::argument("export-out") });
    fresh.places.extend(maker.found("export", "shards-in"));
    fresh.places.extend(absent("export-out", &staged));
    fresh.places = unique(fresh.places);

    finished.commands = vec![
        Call { code: 2, ..export.clone() },
        export.with("overwrite", 0, "--overwrite"),
        Call::new("verify", 0, "verify export-out", &[]),
    ];
    finished.places = vec![Place::argument("export-out"), staging];
    finished.places.extend(maker.found("export-finished", "export-out"));
    finished.places.extend(absent("export-out", &staged));
    finished.places = unique(finished.places);
    vec![fresh, finished]
}
