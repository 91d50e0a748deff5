/// Bytes of a text that are marked, one bit each.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// One word more than the text has, so that a range always has a next word.
    words: Vec<u64>,
    /// The bytes around the last long range that are known to be marked.
    long: (usize, usize),
}

/// Longest range, in bytes, that is marked in two words, and that is looked at in one.
const MARKED: usize = 64;
const LOOKED_AT: usize = 57;

/// The lowest `count` bits, of which there are 1 to 64.
#[inline]
fn lowest(count: usize) -> u64 {
    u64::MAX >> (64 - count)
}

impl Marks {
    /// Starts anew for a text of this many bytes.
    pub(crate) fn clear(&mut self, bytes: usize) {
        self.words.clear();
        self.words.resize(bytes / 64 + 2, 0);
        self.long = (0, 0);
    }

    /// Marks the bytes `start..end`, at least one, if `marked`, without a branch: the outcome is unpredictable.
    #[inline(always)]
    pub(crate) fn mark(&mut self, start: usize, end: usize, marked: bool) {
        let len = end - start;
        if len > MARKED {
            return self.mark_long(start, end, marked);
        }
        let bits = lowest(len) & if marked { u64::MAX } else { 0 };
        let two = &mut self.words[start / 64..][..2];
        two[0] |= bits << (start % 64);
        two[1] |= bits >> 1 >> (63 - start % 64);
    }

    /// Each word of a segment covers all of its bytes, and a megabyte of combining marks has many words: what is marked
    /// already is not marked again.
    #[cold]
    fn mark_long(&mut self, start: usize, end: usize, marked: bool) {
        if !marked {
            return;
        }
        let (from, to) = self.long;
        let new = if (from..=to).contains(&start) { to } else { start };
        for at in (new..end).step_by(MARKED) {
            self.mark(at, end.min(at + MARKED), true);
        }
        self.long = if new == start { (start, end) } else { (from, to.max(end)) };
    }

    /// Whether any of the bytes `start..end` is marked.
    #[inline(always)]
    pub(crate) fn any(&self, start: usize, end: usize) -> bool {
        let len = end.saturating_sub(start);
        if len.wrapping_sub(1) >= LOOKED_AT {
            return self.any_long(start, end);
        }
        // Eight bytes from the one that holds the first bit on hold 57 bits at least.
        let bytes: &[u8] = bytemuck::cast_slice(&self.words);
        let Some(eight) = bytes.get(start / 8..).and_then(<[u8]>::first_chunk) else { return false };
        (u64::from_le_bytes(*eight) >> (start % 8)) & lowest(len) != 0
    }

    #[cold]
    fn any_long(&self, start: usize, end: usize) -> bool {
        (start..end).step_by(LOOKED_AT).any(|at| self.any(at, end.min(at + LOOKED_AT)))
    }

    /// Gives back the memory of an unusually large text.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.words.truncate(bytes / 64);
        self.words.shrink_to(bytes / 64);
    }
}

#[cfg(test)]
mod tests {
    use super::Marks;

    #[test]
    fn ranges_meet_what_is_marked() {
        let mut marks = Marks::default();
        for (start, end) in [(0, 1), (60, 70), (64, 128), (3, 300), (127, 128), (250, 320)] {
            marks.clear(320);
            marks.mark(0, 320, false);
            marks.mark(start, end, true);
            for from in 0..320 {
                for to in from..320 {
                    let meets = from < to && from < end && start < to;
                    assert_eq!(marks.any(from, to), meets, "{start}..{end} and {from}..{to}");
                }
            }
        }
    }

    #[test]
    fn long_ranges_may_overlap() {
        const BYTES: usize = 1000;
        let mut marks = Marks::default();
        let mut state = 7u32;
        let mut draw = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for _ in 0..500 {
            marks.clear(BYTES);
            let mut expected = [false; BYTES];
            // Starts go up, as those of words do.
            let mut start = 0;
            while start < BYTES {
                let (end, marked) = (BYTES.min(start + 1 + draw(400)), draw(3) > 0);
                marks.mark(start, end, marked);
                expected[start..end].iter_mut().for_each(|byte| *byte |= marked);
                start += draw(3) * draw(100);
                if draw(20) == 0 {
                    break;
                }
            }
            (0..BYTES).for_each(|at| assert_eq!(marks.any(at, at + 1), expected[at]));
        }
    }
}
