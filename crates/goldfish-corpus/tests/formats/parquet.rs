use goldfish_corpus::{Content, ReadOptions};

use crate::{fixture, found, ids, named, read, refused, text};

#[test]
fn columns() {
    let file = fixture("formats/docs.parquet");
    let documents = read(&[("a.parquet", &file)], &text()).unwrap().0;
    let lines = read(&[("a.jsonl", &fixture("formats/docs.jsonl"))], &text()).unwrap().0;
    assert!(documents.iter().map(|document| &document.1).eq(lines.iter().map(|line| &line.1)));
    let lists = read(&[("a.parquet", &fixture("formats/ids-list-i32.parquet"))], &ids()).unwrap().0;
    let large = read(&[("a.parquet", &fixture("formats/ids-large-list-i64.parquet"))], &ids()).unwrap().0;
    assert!(!lists.is_empty() && lists == large);
}

#[test]
fn columns_that_can_not_be_read() {
    let file = fixture("formats/docs.parquet");
    let named = |column: &str| ReadOptions::new(Content::Text { column: column.into() });
    let none = "give text_column and tokenizer to read text, or give ids_column to read token ids";
    refused(&[("a.parquet", &file)], &named("body"), "no column \"body\"; the file has \"", none);
    let carried = ReadOptions { carry: vec!["surce".into()], ..named("text") };
    refused(&[("a.parquet", &file)], &carried, "no column \"surce\"", "choose another carry");
    let with_id = ReadOptions { id_column: Some("url".into()), ..named("text") };
    refused(&[("a.parquet", &file)], &with_id, "no column \"url\"", "choose another id_column");
    let of_text = ReadOptions::new(Content::Ids { column: "text".into() });
    let type_words = "column \"text\" is Utf8, but a column of integer lists is needed";
    refused(&[("a.parquet", &file)], &of_text, type_words, "choose another ids_column");
    let lists = fixture("formats/ids-list-i32.parquet");
    refused(
        &[("a.parquet", &lists)],
        &named("input_ids"),
        "a column of strings is needed",
        "choose another text_column",
    );
}

#[test]
fn damaged_files() {
    let file = fixture("formats/docs.parquet");
    for damaged in [&file[..file.len() - 1], &file[..file.len() / 2], &file[4..], b"PAR1", b""] {
        refused(&[("a.parquet", damaged)], &text(), "not a readable parquet file", "");
    }
    let mut pages = file.clone();
    pages[4..200].fill(0xFF);
    refused(&[("a.parquet", &pages)], &text(), "after row 0", "");
}

#[test]
fn names() {
    assert_eq!(found(&["a.parquet", "b.parquet.gz", "c.pq"]), [named("a.parquet", "parquet")]);
}
