//! The tokenizer of the copy tasks: one token a character.

use serde_json::{Map, Value, json};

use super::tasks::{CopySample, DIGITS, LETTERS, NEXT, OF, SEPARATOR};

/// The token that begins a sample.
const BEGIN: &str = "<s>";
/// The token that ends its answer.
const END: &str = "</s>";

pub(super) const BEGIN_ID: u32 = 0;
pub(super) const END_ID: u32 = 1;
/// Tokens before those of the characters.
const SPECIAL: u32 = 2;

/// The characters by id, from [`SPECIAL`] on.
fn characters() -> impl Iterator<Item = char> {
    LETTERS.chars().chain(DIGITS.chars()).chain([SEPARATOR, OF, NEXT])
}

/// Ids of a text; characters that have none are left out, as the tokenizer does.
fn ids(text: &str) -> impl Iterator<Item = u32> + '_ {
    let id = |character| characters().zip(SPECIAL..).find(|(known, _)| *known == character).map(|(_, id)| id);
    text.chars().filter_map(id)
}

/// Ids of a sample up to its answer, and those of the answer without its end.
pub(super) fn encode(sample: &CopySample) -> (Vec<u32>, Vec<u32>) {
    let question = std::iter::once(BEGIN_ID).chain(ids(&sample.question)).collect();
    (question, ids(&sample.answer).collect())
}

/// The `tokenizer.json`: byte-level BPE without merges, so that other programs read it too.
pub(super) fn tokenizer() -> Vec<u8> {
    let mut vocabulary = Map::new();
    let special = [BEGIN, END].map(str::to_owned).into_iter();
    for (token, id) in special.chain(characters().map(String::from)).zip(0_u32..) {
        vocabulary.insert(token, Value::from(id));
    }
    let added = |id: u32, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        })
    };
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(BEGIN_ID, BEGIN), added(END_ID, END)],
        "normalizer": null,
        "pre_tokenizer": byte_level,
        "post_processor": null,
        "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": [],
        },
    });
    format!("{tokenizer:#}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use goldfish_tokenize::Tokenizer;
    use rand_mt::Mt64;

    use super::*;
    use crate::copy::tasks::{CopyShape, CopyTask};

    #[test]
    fn text_of_a_sample_has_its_ids() {
        let tokenizer = Tokenizer::from_bytes(&tokenizer()).unwrap();
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id()), (Some(BEGIN_ID), Some(END_ID)));
        assert_eq!(tokenizer.vocab_size(), SPECIAL + 26 + 10 + 3);
        for task in CopyTask::ALL {
            let shape = CopyShape { task, ..CopyShape::default() };
            let sample = shape.sample(&mut Mt64::new(8), 30);
            let text = format!("{BEGIN}{}{}{END}", sample.question, sample.answer);
            let (mut expected, answer) = encode(&sample);
            expected.extend(answer);
            expected.push(END_ID);
            let mut found = Vec::new();
            tokenizer.encode_into(&text, &mut found).unwrap();
            assert_eq!(found, expected);
            assert_eq!(found.len(), shape.characters(30) + 2);
            assert_eq!(tokenizer.decode(&found).unwrap(), text);
        }
    }
}
