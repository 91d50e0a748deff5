//! The rule `text-v1` decides raw text, the ids of that text and its naive definition alike, whatever joins whatever.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../goldfish-mask/tests/naive/text.rs"]
mod naive;

use std::path::Path;
use std::sync::Arc;

use goldfish_mask::rules::Text;
use goldfish_mask::{Granularity, RuleSpec, ShortContext};
use goldfish_pipeline::{DocumentMasker, DocumentScratch, TokenizeOptions, exempt_ids};
use goldfish_tokenize::Tokenizer;
use naive::Rule;

/// Characters in one document, so that the naive definition, which takes time with the square of a text, is quick.
const TOGETHER: usize = 10;

/// Masks of a document from its text, from its ids, and where the tokenizer changes no text by definition.
struct Both {
    rule: Rule,
    tokenizer: Arc<Tokenizer>,
    masker: DocumentMasker,
    special: &'static str,
    changes_text: bool,
}

impl Both {
    fn new(family: &str, special: &'static str, changes_text: bool, unit: Granularity) -> Self {
        let rule = Rule { k: 2, context: 2, unit, head: ShortContext::Short, seed: 0 };
        let Rule { k, context, unit, head, seed } = rule;
        let spec =
            RuleSpec::new(Text::new(k).context(context).granularity(unit).short_context(head).seed(seed));
        let path = format!("../../fixtures/tokenizers/{family}.json");
        let tokenizer =
            Arc::new(Tokenizer::from_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap());
        let exempt = exempt_ids(&spec, Some(&tokenizer), None, [None, None]);
        let options = TokenizeOptions { tokenizer: tokenizer.clone(), prepend_bos: None, append_eos: None };
        let masker = DocumentMasker::new(&spec, None, &exempt, Some(options)).unwrap();
        Self { rule, tokenizer, masker, special, changes_text }
    }

    fn check(&self, text: &str, what: &str) {
        let (mut ids, mut from_text) = (Vec::new(), Vec::new());
        let mut scratch = DocumentScratch::default();
        self.masker.encode(text, 0, (&mut ids, &mut from_text), &mut scratch).unwrap();
        let mut from_ids = vec![9; ids.len()];
        self.masker.decide_ids(&ids, 0, &mut from_ids, &mut scratch).unwrap();
        assert_eq!(from_text, from_ids, "{what}: text and ids of {text:?}");
        if self.changes_text {
            return;
        }
        let (mut again, mut spans) = (Vec::new(), Vec::new());
        self.tokenizer.encode_with_offsets_into(text, &mut again, &mut spans).unwrap();
        assert_eq!(again, ids);
        let blanked = text.replace(self.special, &" ".repeat(self.special.len()));
        let mut expected = naive::mask(&self.rule, &blanked, &spans);
        let specials = ids.iter().map(|id| self.tokenizer.special_ids().contains(id));
        expected.iter_mut().zip(specials).for_each(|(keep, special)| *keep |= u8::from(special));
        assert_eq!(from_text, expected, "{what}: {text:?} and its definition");
    }
}

#[test]
fn text_ids_and_definition_agree_on_all_that_joins() {
    let families =
        [("gpt2", "<|endoftext|>", false), ("qwen2", "<|im_end|>", true), ("sentencepiece", "</s>", true)];
    let joining = naive::joining();
    for (family, special, changes_text) in families {
        for unit in [Granularity::Word, Granularity::Token] {
            let both = Both::new(family, special, changes_text, unit);
            let twice = special.repeat(2);
            let gaps = ["", " ", "  ", "\n", "\u{A0}", ".", "\u{200B}", special, &twice];
            for (i, few) in joining.chunks(TOGETHER).enumerate() {
                // All gaps for the words of one tokenizer, and one after the other for the rest.
                let all = family == "gpt2" && unit == Granularity::Word;
                let some = if all { &gaps[..] } else { &gaps[i % gaps.len()..][..1] };
                for gap in some {
                    let pieces: Vec<String> = few.iter().map(|c| format!("{gap}{c}u v, t")).collect();
                    both.check(&pieces.concat(), &format!("{family}, {unit:?}, {gap:?}"));
                }
            }
        }
    }
}
