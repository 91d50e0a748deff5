//! Small made-up corpora. Those of different seeds have files of the same names and sizes.

use std::fs;
use std::path::{Path, PathBuf};

/// Documents in the files of [`documents`]: enough for several shards and for a control.
const DOCUMENTS: usize = 24;

/// Documents that take more than the 256 KiB that are read at once, so that a journal has a record before their end.
const MANY: usize = 1200;

/// Ids are below this.
pub(crate) const VOCABULARY: &str = "64";

/// The id that ends documents in the memmaps, which have no other ids than these.
const END: u16 = 2456;

/// The project's files for tests.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures")
}

/// Numbers that anybody gets from the same seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// `a.jsonl` with a row that is rejected, `b.jsonl` with more than is read at once, and `z.jsonl` with a document that makes a
/// shard larger than all others.
pub(crate) fn documents(folder: &Path, seed: u64) {
    let mut numbers = Numbers(seed);
    // Of two digits each, so that the size is the same whatever the seed.
    let mut row = |tokens: usize| {
        let ids: Vec<String> = (0..tokens).map(|_| (10 + numbers.below(54)).to_string()).collect();
        format!("{{\"input_ids\":[{}]}}\n", ids.join(","))
    };
    let mut lines: Vec<String> = (0..DOCUMENTS).map(|_| row(80)).collect();
    lines.insert(3, "{\"input_ids\":\"no list\"}\n".into());
    fs::create_dir_all(folder).unwrap();
    fs::write(folder.join("a.jsonl"), lines.concat()).unwrap();
    let many: Vec<String> = (0..MANY).map(|_| row(80)).collect();
    fs::write(folder.join("b.jsonl"), many.concat()).unwrap();
    fs::write(folder.join("z.jsonl"), row(40_000)).unwrap();
    fs::write(folder.join("mine.dat"), "the user's own\n").unwrap();
}

/// Memmaps of each format with their companions, one of them in a subfolder; the last one's mask is the largest.
pub(crate) fn memmaps(folder: &Path, seed: u64) {
    fs::create_dir_all(folder.join("sub")).unwrap();
    let olmo = fixtures().join("formats/olmo");
    let ids = fs::read(olmo.join("part-0-00000.npy")).unwrap();
    let turned: Vec<u8> = ids.chunks_exact(2).rev().flatten().copied().collect();
    fs::write(folder.join("a.npy"), if seed == 0 { ids } else { turned }).unwrap();
    fs::copy(olmo.join("part-0-00000.csv.gz"), folder.join("a.csv.gz")).unwrap();

    let mut numbers = Numbers(seed);
    let mut tokens = |count: usize| -> Vec<u8> {
        let mut token = |at: usize| if at % 50 == 49 { END } else { numbers.below(2000) as u16 };
        (0..count).flat_map(|at| token(at).to_le_bytes()).collect()
    };
    fs::write(folder.join("sub/b.bin"), tokens(1000)).unwrap();
    fs::write(folder.join("sub/b.idx"), megatron_index(20, 50)).unwrap();
    fs::write(folder.join("z.ds"), tokens(100_000)).unwrap();
    let ends: Vec<u8> = (1..=1000u64).flat_map(|end| (end * 100).to_le_bytes()).collect();
    fs::write(folder.join("z.ds.index"), ends).unwrap();
    fs::write(folder.join("mine.dat"), "the user's own\n").unwrap();
}

/// The index of a Megatron `.bin` of 2-byte ids, in documents of the same length.
fn megatron_index(documents: u64, length: u64) -> Vec<u8> {
    let mut index = b"MMIDIDX\0\0".to_vec();
    index.extend(1u64.to_le_bytes());
    index.push(8);
    index.extend(documents.to_le_bytes());
    index.extend((documents + 1).to_le_bytes());
    index.extend((0..documents).flat_map(|_| (length as i32).to_le_bytes()));
    index.extend((0..documents).flat_map(|number| (number * length * 2).to_le_bytes()));
    index.extend((0..=documents).flat_map(|number| number.to_le_bytes()));
    index
}

/// A hash table and coefficients as `numpy.save` writes them.
pub(crate) fn tables(folder: &Path, seed: u64) {
    fs::create_dir_all(folder).unwrap();
    let mut numbers = Numbers(seed);
    let table =
        (0..1_000_003).flat_map(|_| (numbers.below(1 << 20) as f32 / (1u32 << 20) as f32).to_le_bytes());
    fs::write(folder.join("table.npy"), npy("<f4", 1_000_003, table.collect())).unwrap();
    let coefficients = (0..13u64).flat_map(|place| (seed + place * 7 + 3).to_le_bytes());
    fs::write(folder.join("coefficients.npy"), npy("<i8", 13, coefficients.collect())).unwrap();
}

fn npy(descr: &str, values: usize, data: Vec<u8>) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({values},), }}\n");
    let mut file = b"\x93NUMPY\x01\0".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(data);
    file
}
