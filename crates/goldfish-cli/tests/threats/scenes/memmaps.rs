//! Masks alone, beside memmaps and in a folder of their own.

use std::path::Path;

use super::{Maker, absent, unique};
use crate::scene::{Call, Place, Scene};
use crate::{data, program};

const BESIDE: &str = "mask corpus-in --masks-only --ids-dtype uint16 --eos-id 2456 --rule hash --threads 1";
const APART: &str =
    "mask corpus-in --masks-only --ids-dtype uint16 --eos-id 2456 --rule hash --threads 1 --output masks-out";

/// Masks and what else is written beside memmaps.
const WRITTEN: [&str; 6] = [
    "corpus-in/.goldfish",
    "corpus-in/goldfish.json",
    "corpus-in/a.npy.loss",
    "corpus-in/sub/b.loss.bin",
    "corpus-in/sub/b.loss.idx",
    "corpus-in/z.ds.loss",
];

/// Names that a planted staging folder may have, whatever this version writes there.
const STAGED: [&str; 11] = [
    ".goldfish-partial/lock",
    ".goldfish-partial/journal",
    ".goldfish-partial/goldfish.json",
    ".goldfish-partial/old",
    ".goldfish-partial/old/goldfish.json",
    ".goldfish-partial/old/a.npy.loss",
    ".goldfish-partial/a.npy.loss",
    ".goldfish-partial/sub/b.loss.bin",
    ".goldfish-partial/sub",
    ".goldfish-partial/old/sub",
    ".goldfish-partial/z.ds.loss",
];

/// Blocks of `ulimit -f` that all masks but the last one fit in.
const ALL_BUT_THE_LAST: u64 = 80;

pub(super) fn scenes(maker: &Maker) -> Vec<Scene> {
    let mut scenes = beside(maker);
    scenes.extend(apart(maker));
    scenes
}

fn seeded(call: &Call, seed: u64) -> Call {
    call.with(call.name, call.code, &format!("--seed {seed}"))
}

/// Starts a run that is killed at its last mask.
fn interrupt(folder: &Path, call: &Call, staging: &str) {
    program::kill_at_size(folder, &call.arguments, ALL_BUT_THE_LAST);
    assert!(folder.join(staging).join("journal").is_file(), "nothing was recorded");
}

fn beside(maker: &Maker) -> Vec<Scene> {
    let call = Call::new("plain", 0, BESIDE, &WRITTEN);
    let mut fresh = maker.make("memmaps", |folder, seed| data::memmaps(&folder.join("corpus-in"), seed));
    let mut finished = maker.make("memmaps-finished", |folder, seed| {
        data::memmaps(&folder.join("corpus-in"), seed);
        seeded(&call, seed).make(folder);
    });
    let mut unfinished = maker.make("memmaps-unfinished", |folder, seed| {
        data::memmaps(&folder.join("corpus-in"), seed);
        interrupt(folder, &seeded(&call, seed), "corpus-in/.goldfish-partial");
    });

    let calls = |plain: i32| {
        vec![
            Call { code: plain, ..call.clone() },
            call.with("resume", 0, "--resume"),
            call.with("overwrite", 0, "--overwrite"),
        ]
    };
    fresh.commands = calls(0);
    fresh.places = vec![Place::argument("corpus-in")];
    fresh.places.extend(maker.found("memmaps", "corpus-in"));
    let absent_staging =
        Place::absent("corpus-in/.goldfish-partial", "memmaps-unfinished/corpus-in/.goldfish-partial");
    fresh.places.push(absent_staging.clone());
    fresh.places.extend(maker.found_elsewhere("memmaps-unfinished", "corpus-in/.goldfish-partial"));
    fresh.places.extend(maker.found_elsewhere("memmaps-finished", "corpus-in"));
    fresh.places.extend(absent("corpus-in", &STAGED));
    fresh.places = unique(fresh.places);

    finished.commands = calls(2);
    finished.commands.push(Call::new("verify", 0, "verify corpus-in", &[]));
    finished.places = maker.found("memmaps-finished", "corpus-in");
    finished.places.push(absent_staging);
    finished.places.extend(maker.found_elsewhere("memmaps-unfinished", "corpus-in/.goldfish-partial"));
    finished.places.extend(absent("corpus-in", &STAGED));
    finished.places = unique(finished.places);

    unfinished.commands = calls(2);
    unfinished.places = maker.found("memmaps-unfinished", "corpus-in");
    unfinished.places.extend(maker.found_elsewhere("memmaps-finished", "corpus-in"));
    unfinished.places.extend(absent("corpus-in", &STAGED));
    unfinished.places = unique(unfinished.places);
    vec![fresh, finished, unfinished]
}

fn apart(maker: &Maker) -> Vec<Scene> {
    let call = Call::new("plain", 0, APART, &["masks-out"]);
    let mut finished = maker.make("masks-finished", |folder, seed| {
        data::memmaps(&folder.join("corpus-in"), seed);
        seeded(&call, seed).make(folder);
    });
    let mut unfinished = maker.make("masks-unfinished", |folder, seed| {
        data::memmaps(&folder.join("corpus-in"), seed);
        interrupt(folder, &seeded(&call, seed), "masks-out/.goldfish-partial");
    });
    let calls = || {
        vec![
            Call { code: 2, ..call.clone() },
            call.with("resume", 0, "--resume"),
            call.with("overwrite", 0, "--overwrite"),
        ]
    };
    finished.commands = calls();
    finished.commands.push(Call::new("verify", 0, "verify masks-out", &[]));
    finished.places = vec![Place::argument("masks-out")];
    finished.places.extend(maker.found("masks-finished", "masks-out"));
    finished
        .places
        .push(Place::absent("masks-out/.goldfish-partial", "masks-unfinished/masks-out/.goldfish-partial"));
    finished.places.extend(absent("masks-out", &STAGED[..5]));
    finished.places = unique(finished.places);

    unfinished.commands = calls();
    unfinished.places = vec![Place::argument("masks-out")];
    unfinished.places.extend(maker.found("masks-unfinished", "masks-out"));
    unfinished.places.extend(maker.found_elsewhere("masks-finished", "masks-out"));
    unfinished.places.extend(absent("masks-out", &STAGED[..5]));
    unfinished.places = unique(unfinished.places);
    vec![finished, unfinished]
}
