use goldfish_corpus::{IdType, ReadOptions};

use crate::{Files, found, ids, input, little_endian, named, read, refused};

/// An index of sequences of `u16` ids that each are a document.
fn index(lengths: &[i32]) -> Vec<u8> {
    let mut bytes = b"MMIDIDX\0\0".to_vec();
    bytes.extend(1u64.to_le_bytes());
    bytes.push(8);
    bytes.extend(little_endian([lengths.len() as u64, lengths.len() as u64 + 1].map(u64::to_le_bytes)));
    bytes.extend(little_endian(lengths.iter().map(|length| length.to_le_bytes())));
    let starts = lengths.iter().scan(0, |end, &length| {
        *end += i64::from(length) * 2;
        Some(*end - i64::from(length) * 2)
    });
    bytes.extend(little_endian(starts.map(i64::to_le_bytes)));
    bytes.extend(little_endian((0..=lengths.len() as i64).map(i64::to_le_bytes)));
    bytes
}

#[test]
fn documents() {
    let tokens = little_endian([1u16, 2, 3].map(u16::to_le_bytes));
    let files: Files<'_> = &[("a.bin", &tokens), ("a.idx", &index(&[1, 0, 2]))];
    let expected = [vec![1], vec![], vec![2, 3]].into_iter().enumerate();
    let expected: Vec<_> = expected.map(|(row, ids)| (format!("a.bin:{row}"), ids)).collect();
    assert_eq!(read(files, &ids()).unwrap(), (expected.clone(), Vec::new()));
    // The index may be given instead.
    let by_index: Files<'_> = &[("a.idx", &index(&[1, 0, 2])), ("a.bin", &tokens)];
    assert_eq!(read(by_index, &ids()).unwrap().0, expected);
}

#[test]
fn damaged_files() {
    let tokens = little_endian([1u16, 2, 3].map(u16::to_le_bytes));
    let good = index(&[1, 2]);
    let patched = |at: usize, byte: u8| {
        let mut index = good.clone();
        index[at] = byte;
        index
    };
    for (index, words) in [
        (good[..good.len() - 1].to_vec(), "don't make 81 bytes"),
        (good[..20].to_vec(), "20 bytes are too few for an index"),
        (patched(0, b'X'), "it doesn't start with MMIDIDX"),
        (patched(9, 2), "index version 2 is unknown"),
        (patched(17, 6), "id type 6 is not an integer type"),
        (patched(34, 2), "a sequence of document 1 starts at byte 2, but the one before it ends at 4"),
        (patched(38, 9), "document 1 is at bytes 2..20 of the .bin, which has 6"),
        (index(&[1, 1]), "its documents cover 4 of the 6 bytes"),
    ] {
        refused(&[("a.bin", &tokens), ("a.idx", &index)], &ids(), words, "");
    }
    let odd: Files<'_> = &[("a.bin", &tokens[..5]), ("a.idx", &good)];
    refused(
        odd,
        &ids(),
        "5 bytes are not a whole number of 2-byte ids",
        "give ids_dtype to read ids of another type",
    );
}

#[test]
fn options_and_companions() {
    let tokens = little_endian([1u16, 2, 3].map(u16::to_le_bytes));
    refused(&[("a.bin", &tokens)], &ids(), "a.idx is missing", "");
    refused(&[("a.idx", &index(&[3]))], &ids(), "a.bin is missing", "");
    let files: Files<'_> = &[("a.bin", &tokens), ("a.idx", &index(&[3]))];
    let wide = ReadOptions { id_type: Some(IdType::Int32), ..ids() };
    refused(files, &wide, "the index says that ids are uint16, not int32", "leave out ids_dtype");
    let carry = ReadOptions { id_column: Some("id".into()), ..ids() };
    refused(files, &carry, "has no columns, so there is no \"id\"", "leave out id_column and carry");
}

#[test]
fn names() {
    let names = ["a.bin", "a.idx", "a.loss.bin", "a.loss.idx", "b.idx", "c.loss.bin"];
    assert_eq!(found(&names), ["a.bin", "b.bin", "c.loss.bin"].map(|name| named(name, "megatron")));
    let input = input("x/a.bin", "megatron");
    assert_eq!(input.mask_names(false).unwrap(), ["x/a.bin", "x/a.idx"]);
    assert_eq!(input.mask_names(true).unwrap(), ["x/a.loss.bin", "x/a.loss.idx"]);
}
