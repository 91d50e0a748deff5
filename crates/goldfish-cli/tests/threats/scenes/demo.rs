//! The demo, which writes every kind of file in one folder.

use super::{Maker, absent};
use crate::scene::{Call, Place, Scene};

const DEMO: &str = "demo --passages 2 --epochs 1 --threads 1 --output demo-out";

pub(super) fn scenes(maker: &Maker) -> Vec<Scene> {
    let demo = Call::new("demo", 0, DEMO, &["demo-out"]);
    let mut fresh = maker.make("demo", |_, _| {});
    let mut finished = maker.make("demo-finished", |folder, seed| {
        demo.with("demo", 0, &format!("--seed {seed}")).make(folder);
    });
    fresh.places = vec![Place { like: Some("demo-finished/demo-out".into()), ..Place::argument("demo-out") }];
    let names = [
        "demo.json.partial",
        "tokenizer.json.partial",
        "corpus/documents.jsonl.partial",
        "masked",
        "standard.html.partial",
    ];
    fresh.places.extend(absent("demo-out", &names));
    finished.places = vec![Place::argument("demo-out")];
    let names = [
        "demo.json",
        "tokenizer.json",
        "corpus",
        "masked/manifest.json",
        "models/standard",
        "runs",
        "compare.html",
    ];
    finished.places.extend(absent("demo-out", &names));
    finished.places.extend(absent("demo-out", &["compare.html.partial", "models/standard/training"]));
    [fresh, finished].map(|scene| Scene { commands: vec![demo.clone()], is_slow: true, ..scene }).into()
}
