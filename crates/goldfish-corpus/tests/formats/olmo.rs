use std::io::Write;

use goldfish_corpus::{IdType, ReadOptions};

use crate::{Files, found, ids, input, little_endian, named, read, refused};

fn tokens() -> Vec<u8> {
    little_endian([1u16, 0, 2, 3].map(u16::to_le_bytes))
}

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn documents() {
    let options = ReadOptions { eos_id: Some(0), ..ids() };
    let (documents, _) = read(&[("a.npy", &tokens())], &options).unwrap();
    assert_eq!(documents, [("a.npy:0".to_owned(), vec![1, 0]), ("a.npy:1".into(), vec![2, 3])]);
    let options = ReadOptions { id_column: Some("id".into()), carry: vec!["loc".into()], ..ids() };
    let sidecar = gzip("start,end,id,src,loc\n0,1,x,s,l\n1,4,y,s,l\n");
    let (documents, _) = read(&[("a.npy", &tokens()), ("a.csv.gz", &sidecar)], &options).unwrap();
    assert_eq!(documents, [("x".to_owned(), vec![1]), ("y".into(), vec![0, 2, 3])]);
    let wide = ReadOptions { id_type: Some(IdType::Uint32), eos_id: Some(1), ..ids() };
    let (documents, _) = read(&[("a.npy", &tokens())], &wide).unwrap();
    assert_eq!(documents, [("a.npy:0".to_owned(), vec![1]), ("a.npy:1".into(), vec![3 << 16 | 2])]);
}

#[test]
fn damaged_files() {
    let eos = ReadOptions { eos_id: Some(0), ..ids() };
    refused(&[("a.npy", b"\x93NUMPY\x01\x00")], &eos, "the file has a NumPy header", "");
    let other_type = "give ids_dtype to read ids of another type";
    refused(&[("a.npy", &tokens()[..7])], &eos, "7 bytes are not a whole number of 2-byte ids", other_type);
    for (rows, words) in [
        ("0,2\n", "documents end at token 2, but the file holds 4"),
        ("0,2\n3,4\n", "document 1 is at tokens 3..4"),
        ("0,5\n", "document 0 is at tokens 0..5"),
        ("0,x\n", "not two token positions"),
        ("1,0\n", "document 0 is at tokens 1..0"),
    ] {
        refused(&[("a.npy", &tokens()), ("a.csv.gz", &gzip(rows))], &ids(), words, "");
    }
    let cut = gzip("0,1\n1,2\n2,4\n");
    refused(
        &[("a.npy", &tokens()), ("a.csv.gz", &cut[..cut.len() - 9])],
        &ids(),
        "not a readable olmo file",
        "",
    );
}

#[test]
fn options() {
    let file: Files<'_> = &[("a.npy", &tokens())];
    refused(file, &ids(), "nothing says where documents end", "give eos_id");
    let large = ReadOptions { eos_id: Some(70_000), ..ids() };
    let words = "the end-of-sequence id 70000 doesn't fit ids of type uint16";
    refused(file, &large, words, "choose another eos_id, or choose another ids_dtype");
    let carry = ReadOptions { carry: vec!["source".into()], ..ids() };
    let files: Files<'_> = &[("a.npy", &tokens()), ("a.csv.gz", &gzip("0,4\n"))];
    refused(
        files,
        &carry,
        "has only id, src, loc, so there is no \"source\"",
        "leave out id_column and carry",
    );
}

#[test]
fn names() {
    let names = ["a.npy", "a.csv.gz", "a.npy.loss", "b.csv.gz"];
    assert_eq!(found(&names), [named("a.npy", "olmo")]);
    let input = input("x/a.npy", "olmo");
    assert_eq!(input.mask_names(false).unwrap(), ["x/a.npy"]);
    assert_eq!(input.mask_names(true).unwrap(), ["x/a.npy.loss"]);
}
