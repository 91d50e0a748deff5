//! Headerless token files and their indexes, compared with naive readers.

use std::io::Write;

use goldfish_corpus::{Content, IdType, ReadOptions, read_npy};

use crate::harness::{Document, Reading, file, folder, read, two};

fn options() -> ReadOptions {
    ReadOptions::new(Content::Ids { column: "input_ids".into() })
}

/// Little-endian numbers of `width` bytes.
fn numbers(bytes: &[u8], width: usize) -> Vec<u64> {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
    bytes.chunks_exact(width).map(number).collect()
}

/// Checks that documents equal the expected ones of their rows.
fn assert_documents(reading: &Reading, expected: &[Vec<u64>]) {
    for (row, _, document) in &reading.documents {
        let Document::Ids(ids) = document else { panic!("memmaps contain ids") };
        let ids: Vec<u64> = ids.iter().map(|&id| id as u64).collect();
        assert_eq!(Some(&ids), expected.get(*row as usize), "document {row}");
    }
    if reading.whole {
        assert_eq!(reading.rows().len(), expected.len());
    }
}

/// A Megatron index and its token file.
pub fn megatron(data: &[u8]) {
    let (index, tokens) = two(data);
    file("in.idx", index);
    let reading = read(file("in.bin", tokens), "megatron", &options());
    reading.assert_gapless();
    if let Some(expected) = megatron_naive(index, tokens) {
        assert_documents(&reading, &expected);
    } else {
        assert!(!reading.whole, "an index that the naive reader rejects was accepted");
    }
}

/// Documents of an index; slicing checks every offset.
fn megatron_naive(index: &[u8], tokens: &[u8]) -> Option<Vec<Vec<u64>>> {
    let header = index.get(..34)?;
    if &header[..9] != b"MMIDIDX\0\0" || numbers(&header[9..17], 8) != [1] {
        return None;
    }
    let width = [None, Some(1), Some(1), Some(2), Some(4), Some(8), None, None, Some(2)];
    let width: usize = (*width.get(usize::from(header[17]))?)?;
    let (n, m) = (numbers(&header[18..26], 8)[0] as usize, numbers(&header[26..34], 8)[0] as usize);
    let rest = &index[34..];
    let (lengths, rest) = rest.split_at_checked(n.checked_mul(4)?)?;
    let (offsets, rest) = rest.split_at_checked(n.checked_mul(8)?)?;
    let (bounds, rest) = rest.split_at_checked(m.checked_mul(8)?)?;
    if !rest.is_empty() {
        return None;
    }
    let (lengths, offsets, bounds) = (numbers(lengths, 4), numbers(offsets, 8), numbers(bounds, 8));
    if bounds.first() != Some(&0) || bounds.last() != Some(&(n as u64)) || !bounds.is_sorted() {
        return None;
    }
    let (mut documents, mut position) = (Vec::new(), 0);
    for pair in bounds.windows(2) {
        let mut document = Vec::new();
        for i in pair[0] as usize..pair[1] as usize {
            let start = usize::try_from(offsets[i]).ok()?;
            // Otherwise tokens are skipped or repeated.
            if start != position {
                return None;
            }
            let end = start.checked_add(usize::try_from(lengths[i]).ok()?.checked_mul(width)?)?;
            document.extend(numbers(tokens.get(start..end)?, width));
            position = end;
        }
        documents.push(document);
    }
    (position == tokens.len()).then_some(documents)
}

/// An OLMo token file, with its sidecar or split at an id.
pub fn olmo(data: &[u8]) {
    let (sidecar, tokens) = two(data);
    let sidecar_path = folder().join("in.csv.gz");
    if sidecar.is_empty() {
        let _ = std::fs::remove_file(&sidecar_path);
        let options = ReadOptions { eos_id: Some(0), ..options() };
        let reading = read(file("in.npy", tokens), "olmo", &options);
        reading.assert_gapless();
        if !reading.whole {
            assert!(tokens.len() % 2 == 1 || tokens.starts_with(b"\x93NUMPY"), "a valid file was rejected");
            return;
        }
        let expected = split_after_zero(&numbers(tokens, 2));
        assert_documents(&reading, &expected);
        return;
    }
    file("in.csv.gz", sidecar);
    let path = file("in.npy", tokens);
    let raw = read(path.clone(), "olmo", &options());
    raw.assert_gapless();
    // Compressed here, so that mutations reach the CSV and not only the archive.
    let mut archive = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    archive.write_all(sidecar).unwrap();
    file("in.csv.gz", &archive.finish().unwrap());
    for options in
        [options(), ReadOptions { id_column: Some("id".into()), carry: vec!["loc".into()], ..options() }]
    {
        let reading = read(path.clone(), "olmo", &options);
        reading.assert_gapless();
        let joined: Vec<u64> = reading
            .documents
            .iter()
            .flat_map(|(_, _, document)| match document {
                Document::Ids(ids) => ids.iter().map(|&id| id as u64).collect::<Vec<_>>(),
                Document::Text(_) => unreachable!("memmaps contain ids"),
            })
            .collect();
        if reading.whole {
            assert_eq!(joined, numbers(tokens, 2), "tokens were lost");
        }
    }
}

fn split_after_zero(ids: &[u64]) -> Vec<Vec<u64>> {
    ids.split_inclusive(|&id| id == 0).map(<[u64]>::to_vec).collect()
}

/// A datatrove token file with its index.
pub fn datatrove(data: &[u8]) {
    let (index, tokens) = two(data);
    file("in.ds.index", index);
    let path = file("in.ds", tokens);
    for (id_type, width) in
        [(None, 0), (Some(IdType::Uint16), 2), (Some(IdType::Uint32), 4), (Some(IdType::Int8), 1)]
    {
        let reading = read(path.clone(), "datatrove", &ReadOptions { id_type, ..options() });
        reading.assert_gapless();
        if width == 0 {
            continue;
        }
        let (ends, ids) = (numbers(index, 8), numbers(tokens, width));
        let is_valid = index.len() % 8 == 0
            && tokens.len() % width == 0
            && ends.is_sorted()
            && ends.last().copied().unwrap_or(0) == ids.len() as u64;
        // A signed byte above 127 is a negative id, which is rejected.
        let expected: Vec<Vec<u64>> = if is_valid {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            starts.zip(&ends).map(|(start, &end)| ids[start as usize..end as usize].to_vec()).collect()
        } else {
            assert!(!reading.whole, "an index that contradicts its file was accepted");
            continue;
        };
        assert!(reading.whole, "a valid pair was rejected");
        assert_documents(&reading, &expected);
    }
}

/// Tables and coefficients in `.npy` files.
pub fn npy(data: &[u8]) {
    let path = file("in.npy", data);
    if let Ok(values) = read_npy::<f32>(&path) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(data.ends_with(&bytes));
        let _ = goldfish_mask::UniformTable::from_values(values);
    }
    if let Ok(values) = read_npy::<i64>(&path) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        assert!(data.ends_with(&bytes));
    }
}
