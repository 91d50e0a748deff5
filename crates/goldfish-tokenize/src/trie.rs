//! The tokens that a text begins with.

/// A set of byte strings, each with a value.
pub(crate) struct Trie {
    /// The root first; the children of a node follow each other, in order of their labels.
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// The child of the root for each byte; the root itself where there is none.
    first: Box<[u32; 256]>,
}

#[derive(Clone, Copy)]
struct Node {
    children: u32,
    count: u16,
    value: u32,
}

/// Up to so many labels are looked at one after the other.
const FEW: usize = 6;

/// The value of a node that ends no string.
const NONE: u32 = u32::MAX;

impl Trie {
    /// A trie of strings and values below `u32::MAX`; empty strings are left out. Of equal strings one is kept.
    pub(crate) fn new<'a>(strings: impl Iterator<Item = (&'a [u8], u32)>) -> Self {
        let mut strings: Vec<(&[u8], u32)> = strings.filter(|(string, _)| !string.is_empty()).collect();
        strings.sort_unstable();
        let empty = Node { children: 0, count: 0, value: NONE };
        let mut trie = Self { nodes: vec![empty], labels: vec![0], first: Box::new([0; 256]) };
        // The strings below each node, in the order of the nodes, and how long their common prefix is.
        let mut below = vec![(0..strings.len(), 0)];
        let mut at = 0;
        while let Some((mut range, depth)) = below.get(at).cloned() {
            while let Some((string, value)) = strings.get(range.start).filter(|_| !range.is_empty()) {
                if string.len() > depth {
                    break;
                }
                trie.nodes[at].value = *value;
                range.start += 1;
            }
            trie.nodes[at].children = trie.nodes.len() as u32;
            while let Some(label) = strings[range.clone()].first().map(|(string, _)| string[depth]) {
                let same = strings[range.clone()].partition_point(|(string, _)| string[depth] == label);
                if at == 0 {
                    trie.first[usize::from(label)] = trie.nodes.len() as u32;
                }
                trie.nodes[at].count += 1;
                trie.nodes.push(empty);
                trie.labels.push(label);
                below.push((range.start..range.start + same, depth + 1));
                range.start += same;
            }
            at += 1;
        }
        trie
    }

    /// Calls `found` with the length and the value of each string that `text` begins with, the shortest first.
    #[inline(always)]
    pub(crate) fn prefixes(&self, text: &[u8], mut found: impl FnMut(usize, u32)) {
        let Some(&byte) = text.first() else { return };
        let mut at = self.first[usize::from(byte)];
        if at == 0 {
            return;
        }
        let mut length = 1;
        loop {
            let node = self.nodes[at as usize];
            if node.value != NONE {
                found(length, node.value);
            }
            let Some(&byte) = text.get(length) else { return };
            let children = node.children as usize;
            let labels = &self.labels[children..children + usize::from(node.count)];
            let child = match labels.len() {
                ..=FEW => labels.iter().position(|&label| label == byte),
                _ => labels.binary_search(&byte).ok(),
            };
            let Some(child) = child else { return };
            at = (children + child) as u32;
            length += 1;
        }
    }

    /// The length and the value of the longest string that `text` begins with.
    pub(crate) fn longest_prefix(&self, text: &[u8]) -> Option<(usize, u32)> {
        let mut longest = None;
        self.prefixes(text, |length, value| longest = Some((length, value)));
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::Trie;

    #[test]
    fn prefixes_are_found_in_order_of_length() {
        let many: Vec<String> = ('g'..='z').map(|c| format!("m{c}")).collect();
        let strings = ["a", "abc", "ab", "b", "", "\u{0}", "é", "ê", "abcdefgh"];
        let strings = strings.into_iter().chain(many.iter().map(String::as_str));
        let trie = Trie::new((0..).zip(strings).map(|(value, string)| (string.as_bytes(), value)));
        let prefixes = |text: &str| {
            let mut found = Vec::new();
            trie.prefixes(text.as_bytes(), |length, value| found.push((text[..length].to_owned(), value)));
            found
        };
        assert_eq!(prefixes("abcd"), [("a".to_owned(), 0), ("ab".to_owned(), 2), ("abc".to_owned(), 1)]);
        assert_eq!(prefixes("êé"), [("ê".to_owned(), 7)]);
        assert_eq!(prefixes("\u{0}a"), [("\u{0}".to_owned(), 5)]);
        for (value, string) in (9..).zip(&many) {
            assert_eq!(trie.longest_prefix(string.as_bytes()), Some((2, value)));
        }
        assert_eq!(prefixes("ma"), []);
        assert_eq!(prefixes("ca"), []);
        assert_eq!(prefixes(""), []);
        assert_eq!(trie.longest_prefix(b"abcdefghi"), Some((8, 8)));
        assert_eq!(trie.longest_prefix(b"\xC3"), None);
    }

    #[test]
    fn an_empty_trie_finds_nothing() {
        assert_eq!(Trie::new(std::iter::empty()).longest_prefix(b"a"), None);
    }
}
