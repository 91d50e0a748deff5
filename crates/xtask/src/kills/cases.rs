//! The commands that are disturbed, and what they start from.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// One command in a folder with inputs, and with what earlier commands left.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Commands that are run before, in this order.
    pub(crate) before: &'static [&'static str],
    /// The command, without the options by which it says how to continue.
    pub(crate) command: &'static str,
    /// What is added when it is disturbed.
    pub(crate) disturbed_with: &'static str,
    /// What may be added when it is run again.
    pub(crate) options: &'static [&'static str],
    pub(crate) place: Place,
    /// Folders of sets that the command removes when its own is complete.
    pub(crate) sources: &'static [&'static str],
    /// Of how many calls `--all` takes a sample; all of them where it is none.
    pub(crate) sample: Option<usize>,
}

/// Where the command writes.
#[derive(Clone, Copy)]
pub(crate) enum Place {
    /// Anything below a folder.
    Folder(&'static str),
    /// Masks, their manifest and hidden files beside the inputs of a folder.
    Beside(&'static str),
}

impl Place {
    /// Whether the command may touch a path.
    pub(crate) fn holds(self, path: &str) -> bool {
        let below = |folder: &str| path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        match self {
            Self::Folder(folder) => path == folder || below(folder).is_some(),
            Self::Beside(folder) => below(folder).is_some_and(|name| {
                name.starts_with('.') || name.ends_with(".loss") || name == "goldfish.json"
            }),
        }
    }

    /// The folder.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Folder(folder) | Self::Beside(folder) => folder,
        }
    }
}

impl Case {
    /// The commands that make what the case starts from.
    pub(crate) fn preparation(&self) -> impl Iterator<Item = Vec<String>> {
        self.before.iter().map(|command| words(command))
    }

    /// The command that is disturbed.
    pub(crate) fn disturbed(&self) -> Vec<String> {
        self.with(self.disturbed_with)
    }

    /// The command with another option, or none.
    pub(crate) fn with(&self, option: &str) -> Vec<String> {
        words(&format!("{} {option}", self.command))
    }

    /// How long a run may take: far more than it does.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(if self.sample.is_some() { 120 } else { 30 })
    }
}

fn words(command: &str) -> Vec<String> {
    command.split_whitespace().map(str::to_owned).collect()
}

const MASK: &str = "mask corpus --rule hash --shard-size 24KiB --threads 1 --output out";
const BESIDE: &str = "mask tokens --masks-only --rule hash --threads 1";
const MASKS: &str = "mask tokens --masks-only --rule hash --threads 1 --output out";
const PART_0: &str =
    "mask corpus --rule hash --shard-size 32KiB --threads 1 --rank 0 --world 2 --output parts";
const PART_1: &str =
    "mask corpus --rule hash --shard-size 32KiB --threads 1 --rank 1 --world 2 --output parts";
const MERGE: &str = "merge parts/rank-00000-of-00002 parts/rank-00001-of-00002 --output out";
const MERGE_MOVE: &str = "merge parts/rank-00000-of-00002 parts/rank-00001-of-00002 --move --output out";
/// A set made with other options, with more files, which no new one has.
const EARLIER: &str = "mask corpus --rule hash --k 3 --shard-size 16KiB --threads 1 --output out";
const MASKED: &str = "mask corpus --rule hash --shard-size 48KiB --threads 1 --output masked";
const OLMO: &str = "export masked --to olmo --output out";
const MEGATRON: &str = "export masked --to megatron --output out";
const TRAIN: &str = "lab train masked --vocab-size 64 --layers 1 --width 16 --heads 2 --mlp-width 32 --sequence-length 64 \
                     --steps 3 --checkpoint-every 1 --threads 1 --output out";
const MODEL: &str = "lab train masked --vocab-size 64 --layers 1 --width 16 --heads 2 --mlp-width 32 --sequence-length 64 \
                     --steps 1 --threads 1 --output model";
const AUDIT: &str =
    "audit masked --model model --prefix 8 --suffix 8 --samples 12 --batch 4 --threads 1 --output out";
const DEMO: &str = "demo --passages 2 --epochs 1 --threads 1 --output out";

const BOTH: &[&str] = &["--resume", "--overwrite"];
const PARTS: &[&str] = &["parts/rank-00000-of-00002", "parts/rank-00001-of-00002"];

/// A command that writes a folder of its own where nothing was before.
pub(crate) const NEW: Case = Case {
    name: "",
    before: &[],
    command: "",
    disturbed_with: "",
    options: &[],
    place: Place::Folder("out"),
    sources: &[],
    sample: None,
};

pub(crate) const CASES: [Case; 17] = [
    Case { name: "mask", command: MASK, options: BOTH, ..NEW },
    Case {
        name: "mask-over",
        before: &[EARLIER],
        command: MASK,
        disturbed_with: "--overwrite",
        options: BOTH,
        ..NEW
    },
    Case { name: "masks-beside", command: BESIDE, options: BOTH, place: Place::Beside("tokens"), ..NEW },
    Case {
        name: "masks-beside-over",
        before: &["mask tokens --masks-only --rule hash --k 3 --threads 1"],
        command: BESIDE,
        disturbed_with: "--overwrite",
        options: BOTH,
        place: Place::Beside("tokens"),
        ..NEW
    },
    Case { name: "masks", command: MASKS, options: BOTH, ..NEW },
    Case {
        name: "masks-over",
        before: &["mask tokens --masks-only --rule hash --k 3 --threads 1 --output out"],
        command: MASKS,
        disturbed_with: "--overwrite",
        options: BOTH,
        ..NEW
    },
    Case { name: "merge", before: &[PART_0, PART_1], command: MERGE, options: &["--overwrite"], ..NEW },
    Case {
        name: "merge-over",
        before: &[PART_0, PART_1, EARLIER],
        command: MERGE,
        disturbed_with: "--overwrite",
        options: &["--overwrite"],
        ..NEW
    },
    Case {
        name: "merge-move",
        before: &[PART_0, PART_1],
        command: MERGE_MOVE,
        options: &["--overwrite"],
        sources: PARTS,
        ..NEW
    },
    Case {
        name: "merge-move-over",
        before: &[PART_0, PART_1, EARLIER],
        command: MERGE_MOVE,
        disturbed_with: "--overwrite",
        options: &["--overwrite"],
        sources: PARTS,
        ..NEW
    },
    Case { name: "export-olmo", before: &[MASKED], command: OLMO, options: &["--overwrite"], ..NEW },
    Case { name: "export-megatron", before: &[MASKED], command: MEGATRON, options: &["--overwrite"], ..NEW },
    Case {
        name: "export-over",
        before: &[MASKED, OLMO],
        command: MEGATRON,
        disturbed_with: "--overwrite",
        options: &["--overwrite"],
        ..NEW
    },
    Case { name: "lab-train", before: &[MASKED], command: TRAIN, options: &["--resume"], ..NEW },
    Case {
        name: "lab-train-resume",
        before: &[MASKED],
        command: TRAIN,
        disturbed_with: "--resume",
        options: &["--resume"],
        ..NEW
    },
    Case { name: "audit", before: &[MASKED, MODEL], command: AUDIT, options: &["--resume"], ..NEW },
    Case { name: "demo", command: DEMO, sample: Some(40), ..NEW },
];

/// Writes the inputs of every case, and what no command may touch.
pub(crate) fn write_inputs(folder: &Path) -> anyhow::Result<()> {
    let mut numbers = Numbers(7);
    for folder in ["corpus", "tokens/more", "outside/folder", "outside/.hidden"].map(|name| folder.join(name))
    {
        fs::create_dir_all(folder)?;
    }
    for name in ["a", "b", "c"] {
        let line =
            |row: usize| format!("{{\"id\": \"{name}{row}\", \"input_ids\": {:?}}}\n", numbers.document());
        fs::write(folder.join(format!("corpus/{name}.jsonl")), (0..24).map(line).collect::<String>())?;
    }
    // Memmaps of uint16, and where their documents end.
    for name in ["a", "b", "more/c"] {
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            ids.extend(numbers.document().iter().flat_map(|id| id.to_le_bytes()));
            ends.extend((ids.len() as u64 / 2).to_le_bytes());
        }
        fs::write(folder.join(format!("tokens/{name}.ds")), ids)?;
        fs::write(folder.join(format!("tokens/{name}.ds.index")), ends)?;
    }
    for name in ["manifest.json", "folder/data-00000-of-00001.arrow", ".hidden/journal"] {
        fs::write(folder.join("outside").join(name), format!("{name} of somebody else\n"))?;
    }
    Ok(())
}

/// A linear congruential generator, with the constants of Knuth's MMIX.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    fn document(&mut self) -> Vec<u16> {
        let length = 100 + self.below(200);
        (0..length).map(|_| 1 + self.below(60) as u16).collect()
    }
}
