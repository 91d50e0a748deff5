use goldfish_corpus::{IdType, ReadOptions};

use crate::{Files, found, ids, input, little_endian, named, read, refused};

fn tokens() -> Vec<u8> {
    little_endian([1u16, 2, 3, 4].map(u16::to_le_bytes))
}

fn ends(ends: &[u64]) -> Vec<u8> {
    little_endian(ends.iter().map(|end| end.to_le_bytes()))
}

#[test]
fn documents() {
    let files: Files<'_> = &[("a.ds", &tokens()), ("a.ds.index", &ends(&[1, 1, 4]))];
    let expected = [vec![1], vec![], vec![2, 3, 4]].into_iter().enumerate();
    let expected: Vec<_> = expected.map(|(row, ids)| (format!("a.ds:{row}"), ids)).collect();
    assert_eq!(read(files, &ids()).unwrap().0, expected);
    // The sizes say how wide ids are.
    let wide: Files<'_> = &[("a.ds", &tokens()), ("a.ds.index", &ends(&[2]))];
    assert_eq!(read(wide, &ids()).unwrap().0[0].1, [2 << 16 | 1, 4 << 16 | 3]);
}

#[test]
fn damaged_files() {
    for (index, words) in [
        (ends(&[5]), "the last document ends at token 5, but the .ds holds 8 bytes"),
        (ends(&[3, 2, 4]), "document 1 ends at token 2, before its start at 3"),
        (ends(&[7, 4]), "document 0 ends at token 7, after the last one, 4"),
        (ends(&[4])[..7].to_vec(), "7 bytes are not a whole number of 8-byte document ends"),
        (Vec::new(), "the last document ends at token 0"),
    ] {
        refused(&[("a.ds", &tokens()), ("a.ds.index", &index)], &ids(), words, "");
    }
    let other_type = "give ids_dtype to read ids of another type";
    let odd: Files<'_> = &[("a.ds", &tokens()[..7]), ("a.ds.index", &ends(&[4]))];
    refused(odd, &ids(), "7 bytes are not a whole number of 2-byte ids", other_type);
}

#[test]
fn options_and_companions() {
    let without = "give eos_id and format olmo to end documents at an id instead";
    refused(&[("a.ds", &tokens())], &ids(), "a.ds.index is missing", without);
    let files: Files<'_> = &[("a.ds", &tokens()), ("a.ds.index", &ends(&[4]))];
    let wide = ReadOptions { id_type: Some(IdType::Uint32), ..ids() };
    refused(files, &wide, "the last document ends at token 4", "");
    let carry = ReadOptions { carry: vec!["source".into()], ..ids() };
    refused(files, &carry, "has no columns, so there is no \"source\"", "leave out id_column and carry");
}

#[test]
fn names() {
    let names = ["a.ds", "a.ds.index", "a.ds.loss", "a.ds.metadata", "b.index"];
    assert_eq!(found(&names), [named("a.ds", "datatrove")]);
    for beside in [false, true] {
        assert_eq!(input("x/a.ds", "datatrove").mask_names(beside).unwrap(), ["x/a.ds.loss"]);
    }
}
