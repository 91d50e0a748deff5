/// The normalised characters of a text so far, of which the last `context` are the context of what comes next.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// As UTF-8.
    bytes: Vec<u8>,
    chars: usize,
    /// Where the window started when it was last asked for: in bytes, and in characters.
    window: (usize, usize),
}

impl Stream {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.chars = 0;
        self.window = (0, 0);
    }

    /// How many characters the stream holds.
    pub(crate) fn chars(&self) -> usize {
        self.chars
    }

    pub(crate) fn push(&mut self, c: char) {
        self.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        self.chars += 1;
    }

    /// Appends ASCII characters, each through `map`.
    pub(crate) fn push_ascii(&mut self, bytes: &[u8], map: impl Fn(u8) -> u8) {
        self.bytes.extend(bytes.iter().map(|&byte| map(byte)));
        self.chars += bytes.len();
    }

    /// The last `context` characters, or all if there are fewer. `context` must be the same in every call.
    pub(crate) fn context(&mut self, context: usize) -> &[u8] {
        let first = self.chars.saturating_sub(context);
        if self.bytes.len() == self.chars {
            return &self.bytes[first..];
        }
        let (mut byte, mut char) = self.window;
        while char < first {
            byte += width(self.bytes[byte]);
            char += 1;
        }
        self.window = (byte, char);
        &self.bytes[byte..]
    }

    /// Gives back the memory of an unusually large text.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        self.bytes.clear();
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
        stream.push_ascii(b"XYZ", |b| b.to_ascii_lowercase());
        assert_eq!(stream.context(3), b"xyz");
        stream.clear();
        assert_eq!(stream.chars(), 0);
        assert_eq!(stream.context(3), b"");
    }
}
