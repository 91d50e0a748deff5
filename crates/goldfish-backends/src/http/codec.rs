//! Ids as text.

/// The model's tokenizer, for servers that take text instead of ids.
pub trait TextCodec: Send + Sync {
    /// Text to ids, without any special token around it.
    fn encode(&self, text: &str) -> Vec<u32>;

    /// Ids to text, special tokens included.
    fn decode(&self, ids: &[u32]) -> String;

    /// The token that the server adds before every text on its own, if any: a prompt that begins with it is sent without it.
    fn server_bos(&self) -> Option<u32> {
        None
    }
}
