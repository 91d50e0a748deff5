//! Document ids that occur more than once.

use std::collections::HashMap;

use goldfish_mask::document_key;

/// Documents whose id an earlier one has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedIds {
    /// How many; an estimate if there are more ids than were remembered.
    pub documents: u64,
    /// Whether all ids were remembered.
    pub exact: bool,
    /// One such id.
    pub example: String,
}

/// Ids that are remembered: 16 bytes each, and room to grow.
const MOST_IDS: usize = 1 << 21;

/// Remembers ids by their keys; of more than [`MOST_IDS`] a part, chosen by the keys, so that every copy of an id is in it or
/// none.
#[derive(Debug)]
pub(crate) struct IdCounter {
    /// How many documents after the first have each key.
    repeats: HashMap<u64, u32>,
    /// The largest key that is remembered.
    last: u64,
    most: usize,
    example: Option<String>,
}

impl Default for IdCounter {
    fn default() -> Self {
        Self { repeats: HashMap::new(), last: u64::MAX, most: MOST_IDS, example: None }
    }
}

impl IdCounter {
    pub(crate) fn add(&mut self, doc_id: &str) {
        let key = document_key(doc_id);
        if key > self.last {
            return;
        }
        match self.repeats.entry(key) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                *entry.get_mut() = entry.get().saturating_add(1);
                self.example.get_or_insert_with(|| doc_id.to_owned());
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(0);
            }
        }
        while self.repeats.len() > self.most {
            self.last /= 2;
            self.repeats.retain(|key, _| *key <= self.last);
        }
    }

    /// What was repeated, if anything was.
    pub(crate) fn report(self) -> Option<RepeatedIds> {
        let example = self.example?;
        let repeats: u64 = self.repeats.values().map(|repeats| u64::from(*repeats)).sum();
        // Halving rounds down, so that this is a power of two.
        let each = (u64::MAX / self.last.max(1)).max(1);
        // An id was repeated, even if it is no longer remembered.
        Some(RepeatedIds { documents: (repeats * each).max(1), exact: self.last == u64::MAX, example })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted() {
        let mut counter = IdCounter::default();
        ["a", "b", "c", "b", "d", "b"].iter().for_each(|id| counter.add(id));
        let expected = RepeatedIds { documents: 2, exact: true, example: "b".into() };
        assert_eq!(counter.report(), Some(expected));
        let mut counter = IdCounter::default();
        ["a", "b"].iter().for_each(|id| counter.add(id));
        assert_eq!(counter.report(), None);
    }

    #[test]
    fn of_many_ids_a_part_is_remembered() {
        let mut counter = IdCounter { most: 1000, ..IdCounter::default() };
        // One id in four stands twice.
        for number in 0..40_000 {
            counter.add(&format!("d{}", if number % 5 == 4 { number - 4 } else { number }));
        }
        assert!(counter.repeats.len() <= 1000);
        let found = counter.report().unwrap();
        assert!(!found.exact && (6_000..10_500).contains(&found.documents), "{found:?}");
    }
}
