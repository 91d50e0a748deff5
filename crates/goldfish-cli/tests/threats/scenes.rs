//! All scenes. The program makes them itself, so that they have whatever files this version writes.

mod audits;
mod demo;
mod inputs;
mod memmaps;
mod shards;

use std::fs;
use std::path::{Path, PathBuf};

use crate::scene::{Place, Scene};

/// Every scene, made below a folder.
pub(crate) fn all(root: &Path) -> Vec<Scene> {
    let maker = Maker { root: root.to_owned() };
    let mut scenes = memmaps::scenes(&maker);
    scenes.extend(shards::scenes(&maker));
    scenes.extend(audits::scenes(&maker));
    scenes.extend(inputs::scenes(&maker));
    scenes.extend(demo::scenes(&maker));
    scenes
}

/// Makes each scene twice, with two seeds.
struct Maker {
    root: PathBuf,
}

impl Maker {
    /// Makes the folder of a scene; `make` gets it, empty, with the seed.
    fn make(&self, name: &'static str, make: impl Fn(&Path, u64)) -> Scene {
        for seed in [0, 1] {
            let folder = self.folder(name, seed);
            fs::create_dir_all(&folder).unwrap();
            make(&folder, seed);
        }
        let (template, other) = (self.folder(name, 0), self.folder(name, 1));
        Scene { name, template, other, commands: Vec::new(), places: Vec::new(), is_slow: false }
    }

    fn folder(&self, name: &str, seed: u64) -> PathBuf {
        self.root.join(seed.to_string()).join(name)
    }

    /// Everything below a folder of a scene, as places.
    fn found(&self, scene: &str, folder: &str) -> Vec<Place> {
        let root = self.folder(scene, 0);
        let tree = crate::tree::read(&root.join(folder));
        let paths = tree.into_keys().filter(|path| is_first(path));
        paths.map(|path| Place::new(format!("{folder}/{}", path.display()))).collect()
    }

    /// The same names, to be planted in a scene that has none of them.
    fn found_elsewhere(&self, scene: &str, folder: &str) -> Vec<Place> {
        let places = self.found(scene, folder).into_iter();
        places.map(|place| Place::absent(place.path.clone(), format!("{scene}/{}", place.path))).collect()
    }
}

/// Whether a file is the first one of its kind, which stands for all of them, and not the user's.
fn is_first(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let has_number = |kind: &str| (1..10).any(|number| text.contains(&format!("{kind}-{number:05}")));
    !path.ends_with("mine.dat") && !["data", "part", "shard"].into_iter().any(has_number)
}

/// Names in a folder that no sound run has left, but that the program may look for.
fn absent(folder: &str, names: &[&str]) -> Vec<Place> {
    names.iter().map(|name| Place::new(format!("{folder}/{name}"))).collect()
}

/// Adds places, each path once: the first one counts.
fn unique(places: Vec<Place>) -> Vec<Place> {
    let mut seen = std::collections::HashSet::new();
    places.into_iter().filter(|place| seen.insert(place.path.clone())).collect()
}
