//! However an input is cut into parts, and wherever reading resumes, every row comes once and in order.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};

use goldfish_corpus::{BatchContent, Content, Input, Part, ReadOptions, Source, resolve};

/// Name, contents and row of a document or a reject.
type Row = (String, Vec<i32>, u64);

fn input(path: &Path) -> Input {
    resolve(&[path.to_str().unwrap().to_owned()], None).unwrap().inputs.remove(0)
}

fn options(text: bool) -> ReadOptions {
    let column = if text { "text" } else { "input_ids" }.to_owned();
    let content = if text { Content::Text { column } } else { Content::Ids { column } };
    let mut options = ReadOptions::new(content);
    options.eos_id = Some(0);
    options
}

/// The rest of a source's rows, and the row after each of its chunks.
fn read(source: &mut dyn Source, options: &ReadOptions) -> (Vec<Row>, Vec<u64>) {
    let (mut rows, mut ends) = (Vec::new(), vec![source.row()]);
    while let Some(chunk) = source.next_chunk().unwrap() {
        let batch = chunk.documents(options).unwrap();
        let first = rows.len();
        for (i, &row) in batch.rows.iter().enumerate() {
            let contents = match &batch.content {
                BatchContent::Text(text) => text.value(i).bytes().map(i32::from).collect(),
                BatchContent::Ids { offsets, ids } => {
                    ids[offsets[i] as usize..offsets[i + 1] as usize].to_vec()
                }
            };
            rows.push((batch.doc_ids.value(i).to_owned(), contents, row));
        }
        rows.extend(batch.rejects.into_iter().map(|reject| (reject.reason, Vec::new(), reject.row)));
        rows[first..].sort_by_key(|row: &Row| row.2);
        ends.push(source.row());
    }
    (rows, ends)
}

fn whole(input: &Input, options: &ReadOptions) -> (Vec<Row>, Vec<u64>) {
    read(input.open(options, Part::WHOLE).unwrap().as_mut(), options)
}

/// Reads the parts between the cuts; each must start at the row where the one before ended.
fn parts(input: &Input, options: &ReadOptions, cuts: &[u64]) -> Vec<Row> {
    let starts = std::iter::once(0).chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain(std::iter::once(u64::MAX));
    let mut rows = Vec::new();
    let mut next = 0;
    for (start, end) in starts.zip(ends) {
        let mut source = input.open(options, Part { start, end }).unwrap();
        assert_eq!(source.row(), next, "{} from {start} to {end}", input.name);
        rows.extend(read(source.as_mut(), options).0);
        next = source.row();
        let digests = source.finish().unwrap();
        assert_eq!(digests[0].size, fs::metadata(&input.path).unwrap().len());
    }
    rows
}

fn fixtures() -> Vec<(PathBuf, bool)> {
    let formats = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/formats");
    let mut found = Vec::new();
    for argument in ["", "megatron", "olmo", "olmo-bare", "datatrove"] {
        let resolved = resolve(&[formats.join(argument).to_str().unwrap().to_owned()], None).unwrap();
        found.extend(resolved.inputs.into_iter().map(|input| input.path.to_path_buf()));
    }
    found.sort();
    found.dedup();
    let is_text = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("docs");
    let found = found.into_iter().filter(|path| !path.parent().unwrap().ends_with("docs-text"));
    found.map(|path| (path.clone(), is_text(&path))).collect()
}

#[test]
fn parts_of_every_format_make_the_whole() {
    let all = fixtures();
    assert!(all.len() >= 14, "{all:?}");
    for (path, text) in all {
        let (input, options) = (input(&path), options(text));
        let expected = whole(&input, &options).0;
        assert!(!expected.is_empty());
        let size = fs::metadata(&path).unwrap().len();
        if !input.is_divisible().unwrap() {
            assert_eq!(parts(&input, &options, &[0]), expected, "{}", path.display());
            continue;
        }
        for pieces in [2, 5, 19] {
            let cuts: Vec<u64> = (1..pieces).map(|i| size * i / pieces).collect();
            assert_eq!(parts(&input, &options, &cuts), expected, "{} in {pieces}", path.display());
        }
    }
}

#[test]
fn every_cut_of_small_files() {
    let folder = tempfile::tempdir().unwrap();
    let line = |i: i32| format!("{{\"input_ids\": [{i}, 7]}}");
    let lines = [
        format!("{}\n{}\n", line(1), line(2)),
        format!("{}\n\n\r\n{}", line(1), line(2)),
        format!("\n\n{}\nbad\n{}\n\n", line(1), line(2)),
        line(5),
        "\n".into(),
        String::new(),
    ];
    let memmaps: [&[u16]; 6] = [&[1, 2, 0, 3, 0], &[1, 0, 0, 0, 2], &[0, 0], &[4, 5, 6], &[0], &[]];
    let mut paths = Vec::new();
    for (i, text) in lines.iter().enumerate() {
        paths.push(folder.path().join(format!("{i}.jsonl")));
        fs::write(&paths[i], text).unwrap();
    }
    for (i, ids) in memmaps.iter().enumerate() {
        let path = folder.path().join(format!("{i}.npy"));
        fs::write(&path, ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>()).unwrap();
        paths.push(path);
    }
    let options = options(false);
    for path in paths {
        let input = input(&path);
        let expected = whole(&input, &options).0;
        let size = fs::metadata(&path).unwrap().len();
        for first in 0..=size {
            for second in first..=size {
                assert_eq!(
                    parts(&input, &options, &[first, second]),
                    expected,
                    "{} at {first}, {second}",
                    path.display()
                );
            }
        }
    }
}

/// Files with many chunks: the same from any chunk on.
#[test]
fn reading_is_taken_up_at_any_chunk() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::new();
    for i in 0..1200 {
        let tokens = (0..i % 700).map(|t| (t * 31 + i).to_string()).collect::<Vec<_>>().join(",");
        text += &format!("{{\"input_ids\": [{tokens}]}}\n");
    }
    // One line is longer than several chunks.
    text += &format!("{{\"input_ids\": [{}1]}}\n", "123456,".repeat(150_000));
    text += "{\"input_ids\": [1]}\n{\"input_ids\": [2]}";
    let jsonl = folder.path().join("a.jsonl");
    fs::write(&jsonl, &text).unwrap();
    let gzip = folder.path().join("b.jsonl.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(fs::File::create(&gzip).unwrap(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let olmo = folder.path().join("c.npy");
    let ids = (0..900_000u32).map(|i| if i % 997 < 2 { 0 } else { (i % 60_000) as u16 });
    fs::write(&olmo, ids.flat_map(u16::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    let large = [jsonl, gzip, olmo];
    for (path, text, large) in fixtures()
        .into_iter()
        .map(|(path, text)| (path, text, false))
        .chain(large.map(|path| (path, false, true)))
    {
        let (input, options) = (input(&path), options(text));
        let (rows, ends) = whole(&input, &options);
        assert!(ends.len() > if large { 4 } else { 1 }, "{}", path.display());
        if large && input.is_divisible().unwrap() {
            let size = fs::metadata(&path).unwrap().len();
            assert!(parts(&input, &options, &[size / 3, size * 3 / 4]) == rows, "{}", path.display());
        }
        let step = ends.len().div_ceil(6);
        for &end in ends.iter().step_by(step).chain(ends.last()) {
            let mut source = input.open(&options, Part::WHOLE).unwrap();
            source.skip_to(end).unwrap();
            let rest = read(source.as_mut(), &options);
            let expected: Vec<_> = rows.iter().filter(|row| row.2 >= end).cloned().collect();
            assert!(rest.0 == expected, "{} from row {end}", path.display());
            assert!(ends.ends_with(&rest.1), "{} from row {end}: other chunks", path.display());
        }
        let between = ends.iter().find(|&&end| !ends.contains(&(end + 1))).map(|end| end + 1);
        let mut source = input.open(&options, Part::WHOLE).unwrap();
        assert!(source.skip_to(between.unwrap()).is_err(), "{}: no chunk ends there", path.display());
    }
}
