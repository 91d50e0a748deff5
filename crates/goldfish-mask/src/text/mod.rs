//! The normalized stream of a text: what the rule `text-v1` sees of it, and where in the text it comes from.

mod classes;
mod marks;
mod normalize;
mod scan;
mod stream;
mod words;

pub(crate) use classes::Class;
pub use classes::UNICODE_VERSION;
pub(crate) use marks::Marks;
pub use normalize::{NormalizedText, normalize};
pub(crate) use scan::{Sink, scan};
pub(crate) use stream::{Position, Stream, width};
pub(crate) use words::{AsciiWords, Part, Receive, WORD, Words};

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// Records what is added to the stream and where it comes from.
    #[derive(Default)]
    struct Record(Vec<u8>);

    impl Sink for Record {
        fn char(&mut self, class: Class, start: usize, end: usize, first: bool, stream: &mut Stream) {
            // As `text-v1` sees it.
            let class = if class == Class::Spaceless { Class::Letter } else { class };
            let entry = [class as u8, start as u8, end as u8, first.into(), stream.chars() as u8];
            self.0.extend(entry);
        }

        fn gap(&mut self) {
            self.0.push(b'|');
        }
    }

    /// A new version of a table must not change a mask that was made before: if this fails, the change is a new
    /// rule with a new name.
    #[test]
    fn no_character_has_changed_what_it_contributes() {
        let mut digest = Sha256::new();
        let mut stream = Stream::default();
        let (mut text, mut record, mut contributing) = (String::new(), Record::default(), 0);
        for c in '\0'..=char::MAX {
            // Alone and after a letter; where anything combines, also among characters that compose with many others.
            let combined = if c < '\u{20000}' { 4 } else { 2 };
            for (before, after) in
                [("", ""), ("a", ""), ("", "\u{301}"), ("\u{1100}", "\u{345}")][..combined].iter()
            {
                text.clear();
                text.push_str(before);
                text.push(c);
                text.push_str(after);
                stream.clear();
                record.0.clear();
                scan(&text, &mut stream, &mut record);
                digest.update(&record.0);
                digest.update(stream.context(usize::MAX));
                digest.update([0xFF]);
                contributing += u32::from(before.is_empty() && after.is_empty() && stream.chars() > 0);
            }
        }
        let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (contributing, hex.as_str()),
            (143_840, "804139913035d364e0f160400c277e8ff288b8665cdbfec5ba682893c98c7122")
        );
    }
}
