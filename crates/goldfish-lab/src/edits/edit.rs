//! What can be done to a copy, and what was done.

use std::ops::Range;

use serde::{Serialize, Serializer};

/// A kind of edit, with how much of it. Rates are shares from 0 to 1, drawn for each place independently.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Edit {
    /// Words replaced by others: a share of the words.
    WordsReplaced(f64),
    /// Words inserted before others: a share of the words.
    WordsInserted(f64),
    /// Words deleted, with the white space before them: a share of the words.
    WordsDeleted(f64),
    /// Wrong characters, as character recognition makes them: a share of the letters and digits. Those that are often confused are
    /// (`rn` and `m`, `l` and `1`, `O` and `0`), others become another letter of the text.
    Characters(f64),
    /// A space within words: a share of the words of four or more letters.
    WordsSplit(f64),
    /// White space between two words removed: a share of such spaces.
    WordsJoined(f64),
    /// Lines of so many characters at most, where words that do not fit are hyphenated.
    Lines(usize),
    /// The header of a page (its number, and a title in capitals) after every so many words.
    Pages(usize),
    /// Numbers with another digit in one place: a share of the numbers.
    Numbers(f64),
    /// Names replaced by others, the same one wherever a name occurs: a share of the different names. Names are words with a
    /// capital that no sentence starts with.
    Names(f64),
    /// So many words in a row, in foreign surroundings instead of their own.
    Quotation(usize),
}

macro_rules! kinds {
    ($($kind:ident $name:literal $about:literal,)*) => {
        /// The kind of an [`Edit`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum EditKind {
            $(#[doc = concat!("[`Edit::", stringify!($kind), "`].")] $kind,)*
        }

        impl EditKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Its name, as in JSON and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }

            /// What it does, in a line.
            #[must_use]
            pub fn about(self) -> &'static str {
                match self { $(Self::$kind => $about,)* }
            }
        }

        impl Edit {
            /// Its kind.
            #[must_use]
            pub fn kind(self) -> EditKind {
                match self { $(Self::$kind(_) => EditKind::$kind,)* }
            }
        }
    };
}

kinds! {
    WordsReplaced "words-replaced" "words replaced by others",
    WordsInserted "words-inserted" "words inserted before others",
    WordsDeleted "words-deleted" "words left out",
    Characters "characters" "letters misread, as character recognition does: rn for m, 1 for l",
    WordsSplit "words-split" "a space within words",
    WordsJoined "words-joined" "spaces between words left out",
    Lines "lines" "wrapped lines, with words hyphenated at their ends",
    Pages "pages" "headers of pages between words",
    Numbers "numbers" "numbers with another digit",
    Names "names" "names replaced by others",
    Quotation "quotation" "one passage of the text, in foreign surroundings",
}

impl Serialize for EditKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A stretch of a copy and the stretch of the original that it stands for, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stretch {
    /// The bytes of the original; empty if something was inserted.
    #[serde(serialize_with = "pair")]
    pub original: Range<usize>,
    /// The bytes of the copy; empty if something was left out.
    #[serde(serialize_with = "pair")]
    pub copy: Range<usize>,
    /// What was done to it; `None` where both are equal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<EditKind>,
}

fn pair<S: Serializer>(range: &Range<usize>, serializer: S) -> Result<S::Ok, S::Error> {
    [range.start, range.end].serialize(serializer)
}

/// A copy with edits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EditedCopy {
    /// Its text.
    pub text: String,
    /// Where it comes from: stretches in order, which cover both texts without gaps.
    pub alignment: Vec<Stretch>,
}

impl EditedCopy {
    /// The bytes of the original that some bytes of the copy equal, if no edit touches them.
    #[must_use]
    pub fn original(&self, copy: &Range<usize>) -> Option<Range<usize>> {
        let next = self.alignment.partition_point(|stretch| stretch.copy.start <= copy.start);
        let stretch = &self.alignment[..next].last().filter(|stretch| stretch.edit.is_none())?;
        let shift = |at: usize| at - stretch.copy.start + stretch.original.start;
        (copy.end <= stretch.copy.end).then(|| shift(copy.start)..shift(copy.end))
    }
}
