use crate::rule::{MaskRule, Span};
use crate::rules::product::keep_head;
use crate::rules::table::DroppedKeys;

/// The wrapping sum of coefficient times token over the inclusive window, looked up in the table.
#[derive(Debug)]
pub(crate) struct CoefficientSum {
    coefficients: Vec<i64>,
    dropped: DroppedKeys,
}

impl CoefficientSum {
    pub(crate) fn new(coefficients: &[i64], dropped: DroppedKeys) -> Self {
        Self { coefficients: coefficients.to_vec(), dropped }
    }
}

impl MaskRule for CoefficientSum {
    fn lookback(&self) -> usize {
        self.coefficients.len() - 1
    }

    fn decide(&self, span: &Span<'_>, mask: &mut [u8]) {
        let full = keep_head(span, self.lookback(), mask);
        for (window, keep) in full.ids.windows(self.coefficients.len()).zip(full.mask) {
            let sum = self
                .coefficients
                .iter()
                .zip(window)
                .fold(0i64, |sum, (&c, &id)| sum.wrapping_add(c.wrapping_mul(id.into())));
            *keep = self.dropped.keep(sum);
        }
    }
}
