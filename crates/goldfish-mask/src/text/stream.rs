/// Bytes that are copied at once.
const CHUNK: usize = 24;

/// The normalized characters of a text so far, of which the last `context` are the context of what comes next.
///
/// `len` and `chars` are not adjacent: adjacent fields would be read in one load just after each was written, which
/// stalls the processor.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Stream {
    len: usize,
    /// Where the window started when it was last asked for: in bytes, and in characters.
    window: (usize, usize),
    chars: usize,
    /// UTF-8 in the first `len` bytes, spare room after them.
    bytes: Vec<u8>,
}

/// A position in the stream: how many bytes and characters are before it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Position {
    pub(crate) bytes: usize,
    /// Bytes of the text that what follows this position comes from; set by the rule.
    pub(crate) source: (usize, usize),
    pub(crate) chars: usize,
}

impl Stream {
    pub(crate) fn clear(&mut self) {
        self.len = 0;
        self.chars = 0;
        self.window = (0, 0);
    }

    /// How many characters the stream holds.
    pub(crate) fn chars(&self) -> usize {
        self.chars
    }

    /// The next `CHUNK` bytes of room.
    #[inline]
    fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() < self.len + CHUNK {
            let longer = (2 * self.len).max(1 << 12);
            self.bytes.resize(longer, 0);
        }
        &mut self.bytes[self.len..self.len + CHUNK]
    }

    pub(crate) fn push(&mut self, c: char) {
        let width = c.encode_utf8(self.room()).len();
        self.len += width;
        self.chars += 1;
    }

    /// Appends four bytes as they are, as one character.
    pub(crate) fn push_four(&mut self, bytes: [u8; 4]) {
        self.room()[..4].copy_from_slice(&bytes);
        self.len += 4;
        self.chars += 1;
    }

    /// Appends the first `count` bytes, `CHUNK` at most, ASCII letters and digits, in lower case.
    #[inline(always)]
    pub(crate) fn push_ascii(&mut self, bytes: &[u8], count: usize) {
        // Sets the bit that distinguishes lower from upper case, and is set in all digits.
        let lower = |byte: u8| byte | 0x20;
        let room = self.room();
        if let Some(whole) = bytes.first_chunk::<CHUNK>() {
            room.copy_from_slice(&whole.map(lower));
        } else {
            room.iter_mut().zip(&bytes[..count]).for_each(|(to, &byte)| *to = lower(byte));
        }
        self.len += count;
        self.chars += count;
    }

    /// The position after the last character.
    #[inline(always)]
    pub(crate) fn end(&self) -> Position {
        Position { bytes: self.len, source: (0, 0), chars: self.chars }
    }

    /// The last `context` characters, or all if there are fewer. As [`context_before`](Self::context_before).
    pub(crate) fn context(&mut self, context: usize) -> &[u8] {
        self.context_before(self.end(), context)
    }

    /// The `context` characters before a position, or all if there are fewer. `context` must be the same in every call, and
    /// positions must not decrease.
    #[inline(always)]
    pub(crate) fn context_before(&mut self, position: Position, context: usize) -> &[u8] {
        let Position { bytes: end, chars, .. } = position;
        let first = chars.saturating_sub(context);
        if end == chars {
            return &self.bytes[first..end];
        }
        let (mut byte, mut char) = self.window;
        while char < first {
            byte += width(self.bytes[byte]);
            char += 1;
        }
        self.window = (byte, char);
        &self.bytes[byte..end]
    }

    /// Eight bytes from byte `at` of it, of which those after its end are anything.
    #[inline(always)]
    pub(crate) fn eight_bytes(&self, at: usize) -> Option<u64> {
        self.bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
    }

    /// Sixteen bytes from byte `at` of it, of which those after its end are anything.
    #[inline(always)]
    pub(crate) fn sixteen_bytes(&self, at: usize) -> Option<u128> {
        self.bytes.get(at..)?.first_chunk().map(|sixteen| u128::from_le_bytes(*sixteen))
    }

    /// Its bytes `from..to`.
    #[inline(always)]
    pub(crate) fn bytes(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[from..to]
    }

    /// Gives back the memory of an unusually large text.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.bytes.truncate(bytes);
        self.bytes.shrink_to(bytes);
    }
}

/// Bytes of the UTF-8 character that starts with `lead`.
pub(crate) fn width(lead: u8) -> usize {
    match lead {
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        0xF0.. => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::Stream;

    #[test]
    fn the_context_is_the_last_characters() {
        let mut stream = Stream::default();
        let text = "abcdéfあ𝔤hijkłm";
        for (i, c) in text.chars().enumerate() {
            let expected: String = text.chars().take(i).skip(i.saturating_sub(3)).collect();
            assert_eq!(stream.context(3), expected.as_bytes());
            stream.push(c);
        }
        stream.push_ascii(b"XYZ", 3);
        assert_eq!(stream.context(3), b"xyz");
        stream.clear();
        assert_eq!(stream.chars(), 0);
        assert_eq!(stream.context(3), b"");
    }
}
