//! The rules over text decide raw text, the ids of that text and their naive definitions alike, whatever joins whatever.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../goldfish-mask/tests/naive/selection.rs"]
mod naive_selection;
#[path = "../../goldfish-mask/tests/naive/text.rs"]
mod naive_text;
#[path = "../../goldfish-mask/tests/naive/text_v2.rs"]
mod naive_text_v2;

use std::path::Path;
use std::sync::Arc;

use goldfish_mask::rules::{Text, TextV1};
use goldfish_mask::{Granularity, RuleSpec, ShortContext};
use goldfish_pipeline::{DocumentMasker, DocumentScratch, TokenizeOptions, exempt_ids};
use goldfish_tokenize::Tokenizer;
use naive_text::Rule;

/// Characters in one document, so that the naive definition, which takes time with the square of a text, is quick.
const TOGETHER: usize = 10;

/// Masks of a document from its text, from its ids, and where the tokenizer changes no text by definition.
struct Both {
    definition: Definition,
    tokenizer: Arc<Tokenizer>,
    masker: DocumentMasker,
    special: &'static str,
    changes_text: bool,
}

enum Definition {
    First(Rule),
    Second(Text),
}

impl Definition {
    fn spec(&self) -> RuleSpec {
        match self {
            Self::First(Rule { k, context, unit, head, seed }) => RuleSpec::new(
                TextV1::new(*k).context(*context).granularity(*unit).short_context(*head).seed(*seed),
            ),
            Self::Second(rule) => RuleSpec::new(rule.clone()),
        }
    }

    fn mask(&self, text: &str, spans: &[(usize, usize)]) -> Vec<u8> {
        match self {
            Self::First(rule) => naive_text::mask(rule, text, spans),
            Self::Second(rule) => naive_text_v2::mask(rule, text, spans),
        }
    }
}

impl Both {
    fn new(family: &str, special: &'static str, changes_text: bool, definition: Definition) -> Self {
        let spec = definition.spec();
        let path = format!("../../fixtures/tokenizers/{family}.json");
        let tokenizer =
            Arc::new(Tokenizer::from_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap());
        let exempt = exempt_ids(&spec, Some(&tokenizer), None, [None, None]);
        let options = TokenizeOptions { tokenizer: tokenizer.clone(), prepend_bos: None, append_eos: None };
        let masker = DocumentMasker::new(&spec, None, &exempt, Some(options)).unwrap();
        Self { definition, tokenizer, masker, special, changes_text }
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
        let mut expected = self.definition.mask(&blanked, &spans);
        let specials = ids.iter().map(|id| self.tokenizer.special_ids().contains(id));
        expected.iter_mut().zip(specials).for_each(|(keep, special)| *keep |= u8::from(special));
        assert_eq!(from_text, expected, "{what}: {text:?} and its definition");
    }
}

#[test]
fn text_ids_and_definition_agree_on_all_that_joins() {
    let families =
        [("gpt2", "<|endoftext|>", false), ("qwen2", "<|im_end|>", true), ("sentencepiece", "</s>", true)];
    let joining = naive_text::joining();
    for (family, special, changes_text) in families {
        let (k, context, head, seed) = (2, 2, ShortContext::Short, 0);
        let first = |unit| Definition::First(Rule { k, context, unit, head, seed });
        let second = Definition::Second(Text::new(k).context(context).short_context(head));
        for (first_by_word, definition) in
            [(true, first(Granularity::Word)), (false, first(Granularity::Token)), (false, second)]
        {
            let rule = definition.spec().definition().to_string();
            let both = Both::new(family, special, changes_text, definition);
            let twice = special.repeat(2);
            let gaps = ["", " ", "  ", "\n", "\u{A0}", ".", "\u{200B}", special, &twice];
            for (i, few) in joining.chunks(TOGETHER).enumerate() {
                // All gaps for the words of one tokenizer, and one after the other for the rest.
                let all = family == "gpt2" && first_by_word;
                let some = if all { &gaps[..] } else { &gaps[i % gaps.len()..][..1] };
                for gap in some {
                    let pieces: Vec<String> = few.iter().map(|c| format!("{gap}{c}u v, t")).collect();
                    both.check(&pieces.concat(), &format!("{family}, {rule}, {gap:?}"));
                }
            }
        }
    }
}
