use std::ops::Range;

use super::{Class, Sink, Stream, scan};

/// The normalized stream of a text, as the rule `text-v1` sees it: letters and numbers after NFKC and full case
/// folding, and where in the text they come from.
///
/// ```
/// use goldfish_mask::NormalizedText;
///
/// let mut stream = NormalizedText::default();
/// stream.read("ﬁve, \n#  SIX", 0..usize::MAX);
/// assert_eq!(stream.text(), "fivesix");
/// // The first two letters come from the ligature, bytes 0..3.
/// assert_eq!(stream.sources()[..3], [(0, 3), (0, 3), (3, 4)]);
/// assert_eq!(stream.sources()[4], (11, 12));
/// ```
#[derive(Debug, Default)]
pub struct NormalizedText {
    stream: Stream,
    text: String,
    sources: Vec<(usize, usize)>,
}

struct Sources<'a> {
    kept: Range<usize>,
    sources: &'a mut Vec<(usize, usize)>,
}

impl Sink for Sources<'_> {
    fn char(&mut self, _class: Class, start: usize, end: usize, _first: bool, stream: &mut Stream) {
        if self.kept.contains(&stream.chars()) {
            self.sources.push((start, end));
        }
    }

    fn ascii(&mut self, text: &[u8], start: usize, end: usize, stream: &mut Stream) {
        let mut at = start;
        while at < end {
            let taken = (end - at).min(24);
            let first = stream.chars();
            let kept = self.kept.start.max(first)..self.kept.end.min(first + taken);
            self.sources.extend(kept.map(|char| (at + char - first, at + char - first + 1)));
            stream.push_ascii(&text[at..], taken);
            at += taken;
        }
    }
}

impl NormalizedText {
    /// Normalizes a text, and notes where characters `kept` of its stream come from.
    pub fn read(&mut self, text: &str, kept: Range<usize>) {
        self.stream.clear();
        self.sources.clear();
        scan(text, &mut self.stream, &mut Sources { kept, sources: &mut self.sources });
        self.text.clear();
        // The stream is UTF-8; anything else would show as replacement characters.
        self.text.push_str(&String::from_utf8_lossy(self.stream.context(usize::MAX)));
    }

    /// The stream.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// For each kept character of the stream, the bytes of the text that it comes from, start and end. Characters
    /// that compose or reorder in normalization share theirs.
    #[must_use]
    pub fn sources(&self) -> &[(usize, usize)] {
        &self.sources
    }
}

/// The normalized stream of a text: two texts that differ in layout, case and punctuation alone have the same one.
///
/// ```
/// assert_eq!(goldfish_mask::normalize("“Gold-FISH”, №\u{a0}7!"), "goldfishno7");
/// ```
#[must_use]
pub fn normalize(text: &str) -> String {
    let mut normalized = NormalizedText::default();
    normalized.read(text, 0..0);
    normalized.text
}

#[cfg(test)]
mod tests {
    use super::NormalizedText;

    #[test]
    fn a_part_of_the_sources_is_that_part_of_all() {
        let text = "Twelve 12 ｆｕｌｌ Å e\u{301}\u{327} and a very long run ofletterswithoutanyseparatorbetweenthem 漢字 가각 ½";
        let mut whole = NormalizedText::default();
        whole.read(text, 0..usize::MAX);
        assert_eq!(whole.sources().len(), whole.text().chars().count());
        let mut part = NormalizedText::default();
        for from in 0..whole.sources().len() {
            for to in from..whole.sources().len() {
                part.read(text, from..to);
                assert_eq!(part.sources(), &whole.sources()[from..to]);
                assert_eq!(part.text(), whole.text());
            }
        }
        for (c, &(start, end)) in whole.text().chars().zip(whole.sources()) {
            part.read(&text[start..end], 0..0);
            assert!(part.text().contains(c), "{c} in {:?}", &text[start..end]);
        }
    }
}
