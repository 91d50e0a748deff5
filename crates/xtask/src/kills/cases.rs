//! The commands into which failures are injected, and their inputs.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// A command, and the folder in which it runs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Commands that prepare the folder, in order.
    pub(crate) before: &'static [&'static str],
    /// The command, without options to resume or overwrite.
    pub(crate) command: &'static str,
    /// The option of the run into which a failure is injected.
    pub(crate) injected_with: &'static str,
    /// Options with which it can be run again.
    pub(crate) options: &'static [&'static str],
    pub(crate) output: Output,
    /// Folders that the command removes once its output is complete.
    pub(crate) sources: &'static [&'static str],
    /// How many calls `--all` samples; all of them if `None`.
    pub(crate) sample: Option<usize>,
}

/// Where the command writes.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    /// Anything below a folder.
    Folder(&'static str),
    /// Masks, their manifest and hidden files, beside the inputs in a folder.
    Beside(&'static str),
}

impl Output {
    /// Whether the command may change a path.
    pub(crate) fn contains(self, path: &str) -> bool {
        let below = |folder: &str| path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        match self {
            Self::Folder(folder) => path == folder || below(folder).is_some(),
            Self::Beside(folder) => below(folder).is_some_and(|name| {
                name.starts_with('.') || name.ends_with(".loss") || name == "goldfish.json"
            }),
        }
    }

    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Folder(folder) | Self::Beside(folder) => folder,
        }
    }
}

impl Case {
    /// The commands that prepare the folder.
    pub(crate) fn preparation(&self) -> impl Iterator<Item = Vec<String>> {
        self.before.iter().map(|command| words(command))
    }

    /// The command into which a failure is injected.
    pub(crate) fn injected(&self) -> Vec<String> {
        self.with(self.injected_with)
    }

    /// The command with an option, or with none if it is empty.
    pub(crate) fn with(&self, option: &str) -> Vec<String> {
        words(&format!("{} {option}", self.command))
    }

    /// The time limit of a run, far above what it takes.
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
/// An earlier output with other options and with more files.
const EARLIER: &str = "mask corpus --rule hash --k 3 --shard-size 16KiB --threads 1 --output out";
const MASKED: &str = "mask corpus --rule hash --shard-size 48KiB --threads 1 --output masked";
const OLMO: &str = "export masked --to olmo --output out";
const MEGATRON: &str = "export masked --to megatron --output out";
const TRAIN: &str = "lab train masked --vocab-size 64 --layers 1 --width 16 --heads 2 --mlp-width 32 --sequence-length 64 \
                     --steps 3 --checkpoint-every 1 --threads 1 --output out";
const MODEL: &str = "lab train masked --vocab-size 64 --layers 1 --width 16 --heads 2 --mlp-width 32 --sequence-length 64 \
                     --steps 1 --threads 1 --output model";
/// One step doesn't make a language model.
const AUDIT: &str = "audit masked --model model --prefix 8 --suffix 8 --samples 12 --batch 4 --threads 1 \
                     --allow-tokenizer-mismatch --output out";
const PLANT: &str =
    "canary plant words.txt --canaries 2 --repetitions 1,3 --words 16 --seed secret --mix --output out";
const TRACE: &str =
    "trace words.txt --corpus corpus-of-words.jsonl --min-words 4 --save-every 0 --threads 1 --output out";
const DEMO: &str = "demo --passages 2 --epochs 1 --threads 1 --output out";

const BOTH: &[&str] = &["--resume", "--overwrite"];
const PARTS: &[&str] = &["parts/rank-00000-of-00002", "parts/rank-00001-of-00002"];

/// Defaults: a command that writes a new folder.
pub(crate) const NEW: Case = Case {
    name: "",
    before: &[],
    command: "",
    injected_with: "",
    options: &[],
    output: Output::Folder("out"),
    sources: &[],
    sample: None,
};

pub(crate) const CASES: [Case; 19] = [
    Case { name: "mask", command: MASK, options: BOTH, ..NEW },
    Case {
        name: "mask-over",
        before: &[EARLIER],
        command: MASK,
        injected_with: "--overwrite",
        options: BOTH,
        ..NEW
    },
    Case { name: "masks-beside", command: BESIDE, options: BOTH, output: Output::Beside("tokens"), ..NEW },
    Case {
        name: "masks-beside-over",
        before: &["mask tokens --masks-only --rule hash --k 3 --threads 1"],
        command: BESIDE,
        injected_with: "--overwrite",
        options: BOTH,
        output: Output::Beside("tokens"),
        ..NEW
    },
    Case { name: "masks", command: MASKS, options: BOTH, ..NEW },
    Case {
        name: "masks-over",
        before: &["mask tokens --masks-only --rule hash --k 3 --threads 1 --output out"],
        command: MASKS,
        injected_with: "--overwrite",
        options: BOTH,
        ..NEW
    },
    Case { name: "merge", before: &[PART_0, PART_1], command: MERGE, options: &["--overwrite"], ..NEW },
    Case {
        name: "merge-over",
        before: &[PART_0, PART_1, EARLIER],
        command: MERGE,
        injected_with: "--overwrite",
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
        injected_with: "--overwrite",
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
        injected_with: "--overwrite",
        options: &["--overwrite"],
        ..NEW
    },
    Case { name: "lab-train", before: &[MASKED], command: TRAIN, options: &["--resume"], ..NEW },
    Case {
        name: "lab-train-resume",
        before: &[MASKED],
        command: TRAIN,
        injected_with: "--resume",
        options: &["--resume"],
        ..NEW
    },
    Case { name: "audit", before: &[MASKED, MODEL], command: AUDIT, options: &["--resume"], ..NEW },
    Case { name: "trace", command: TRACE, options: &["--resume"], ..NEW },
    Case { name: "canary-plant", command: PLANT, ..NEW },
    Case { name: "demo", command: DEMO, sample: Some(40), ..NEW },
];

/// Writes the inputs of all cases, and files outside of the outputs.
pub(crate) fn write_inputs(folder: &Path) -> anyhow::Result<()> {
    let mut random = Random(7);
    for folder in ["corpus", "tokens/more", "outside/folder", "outside/.hidden"].map(|name| folder.join(name))
    {
        fs::create_dir_all(folder)?;
    }
    for name in ["a", "b", "c"] {
        let line =
            |row: usize| format!("{{\"id\": \"{name}{row}\", \"input_ids\": {:?}}}\n", random.document());
        fs::write(folder.join(format!("corpus/{name}.jsonl")), (0..24).map(line).collect::<String>())?;
    }
    // Memmaps of uint16, and the ends of their documents.
    for name in ["a", "b", "more/c"] {
        let (mut ids, mut ends) = (Vec::new(), Vec::new());
        for _ in 0..6 {
            ids.extend(random.document().iter().flat_map(|id| id.to_le_bytes()));
            ends.extend((ids.len() as u64 / 2).to_le_bytes());
        }
        fs::write(folder.join(format!("tokens/{name}.ds")), ids)?;
        fs::write(folder.join(format!("tokens/{name}.ds.index")), ends)?;
    }
    // All words of four letters of the first eight, in a random order.
    let mut words: Vec<String> = (0..4096)
        .map(|n: u32| (0..4).map(|letter| char::from(b'a' + (n >> (3 * letter) & 7) as u8)).collect())
        .collect();
    (1..words.len()).rev().for_each(|last| words.swap(last, random.below(last as u64 + 1) as usize));
    fs::write(folder.join("words.txt"), words.join(" "))?;
    // More than fits into one work item.
    let rows =
        words.chunks(64).cycle().take(1200).map(|words| format!("{{\"text\": \"{}\"}}\n", words.join(" ")));
    fs::write(folder.join("corpus-of-words.jsonl"), rows.collect::<String>())?;
    for name in ["manifest.json", "folder/data-00000-of-00001.arrow", ".hidden/journal"] {
        fs::write(folder.join("outside").join(name), format!("{name} of another program\n"))?;
    }
    Ok(())
}

/// A linear congruential generator with the constants of Knuth's MMIX.
pub(crate) struct Random(pub(crate) u64);

impl Random {
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
