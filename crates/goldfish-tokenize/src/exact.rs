//! The exact path: the `tokenizers` crate.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use tokenizers::{PostProcessorWrapper, Tokenizer};

use crate::special::SpecialInText;

/// A tokenizer of the crate, which takes seconds and hundreds of megabytes to load a large vocabulary.
pub(crate) struct Exact {
    /// The tokenizer.json, for a tokenizer that is not loaded yet.
    json: Vec<u8>,
    special: SpecialInText,
    loaded: OnceLock<Result<Tokenizer, String>>,
}

impl Exact {
    /// A loaded tokenizer.
    pub(crate) fn new(mut tokenizer: Tokenizer, special: SpecialInText) -> Self {
        tokenizer.set_encode_special_tokens(special == SpecialInText::Text);
        Self { json: Vec::new(), special, loaded: OnceLock::from(Ok(tokenizer)) }
    }

    /// A tokenizer that is loaded when it is first needed.
    pub(crate) fn later(json: Vec<u8>, special: SpecialInText) -> Self {
        Self { json, special, loaded: OnceLock::new() }
    }

    /// Calls the crate; its errors and panics become messages.
    pub(crate) fn with<T>(
        &self,
        call: impl FnOnce(&Tokenizer) -> tokenizers::Result<T>,
    ) -> Result<T, String> {
        let loaded = self.loaded.get_or_init(|| {
            let mut tokenizer = load(&self.json)?;
            tokenizer.set_encode_special_tokens(self.special == SpecialInText::Text);
            Ok(tokenizer)
        });
        let tokenizer = loaded.as_ref().map_err(|problem| format!("it cannot be loaded: {problem}"))?;
        guarded(|| call(tokenizer))
    }
}

/// Loads the bytes of a tokenizer.json.
pub(crate) fn load(json: &[u8]) -> Result<Tokenizer, String> {
    guarded(|| {
        let mut exact = Tokenizer::from_bytes(json)?;
        exact.with_truncation(None)?;
        exact.with_padding(None);
        // Without BOS and EOS it could only trim the offsets.
        exact.with_post_processor(None::<PostProcessorWrapper>);
        Ok(exact)
    })
}

fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(panic_message(panic.as_ref())),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    format!("the tokenizers crate panicked: {message}")
}
