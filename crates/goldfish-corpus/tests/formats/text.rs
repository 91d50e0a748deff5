use goldfish_corpus::ReadOptions;

use crate::{found, ids, named, read, refused, text};

#[test]
fn a_file_is_a_document() {
    let (documents, rejects) = read(&[("a.md", b"\xEF\xBB\xBFa\nb")], &text()).unwrap();
    assert_eq!((documents, rejects.len()), (vec![("a.md:0".to_owned(), b"a\nb".map(i32::from).to_vec())], 0));
    let (documents, rejects) = read(&[("a.txt", b"a\xFF")], &text()).unwrap();
    assert_eq!((documents.len(), &*rejects[0]), (0, "0: not UTF-8"));
    assert!(!crate::input("a.txt", "text").is_divisible().unwrap());
}

#[test]
fn options_that_do_not_fit() {
    let file: crate::Files<'_> = &[("a.txt", b"a long one")];
    refused(
        file,
        &ids(),
        "a text file holds no token ids",
        "give tokenizer to read its text, or leave out ids_column",
    );
    let carry = ReadOptions { carry: vec!["source".into()], ..text() };
    refused(file, &carry, "has no columns, so there is no \"source\"", "leave out id_column and carry");
    let short = ReadOptions { max_document: 9, ..text() };
    refused(
        file,
        &short,
        "the document is longer than 9 bytes; split it",
        "give max_document to read it whole",
    );
    refused(&[("a.txt.gz", b"no gzip")], &text(), "not a readable text file", "");
}

#[test]
fn names() {
    let expected = ["a.txt", "b.md.gz", "c.text.zst"].map(|name| named(name, "text"));
    assert_eq!(found(&["a.txt", "b.md.gz", "c.text.zst", "d.rst"]), expected);
}
