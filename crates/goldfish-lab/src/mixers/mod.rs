//! What mixes the tokens of a sequence, one file each.

mod attention;

pub(crate) use attention::Attention;

/// The projections of attention and of what replaces it.
const QUERY_KEY_VALUE: [&str; 3] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"];
