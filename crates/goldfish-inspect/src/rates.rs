//! Rates of counts.

use crate::report::Rates;

pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

pub(crate) fn rates(documents: u64, tokens: u64, dropped: u64) -> Rates {
    Rates { documents, tokens, dropped, drop_rate: share(dropped, tokens) }
}
