use crate::rule::{MaskRule, TokenSpan};
use crate::rules::lanes::{ByLanes, TOGETHER, run};
use crate::rules::product::{FullWindows, keep_head};
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

    fn decide(&self, span: &TokenSpan<'_>, mask: &mut [u8]) {
        let full = keep_head(span, self.lookback(), mask);
        run(Sums { rule: self, full });
    }
}

struct Sums<'a, 'm> {
    rule: &'a CoefficientSum,
    full: FullWindows<'a, 'm>,
}

impl ByLanes for Sums<'_, '_> {
    #[inline(always)]
    fn in_lanes(self) {
        let Self { rule: CoefficientSum { coefficients, dropped }, full: FullWindows { ids, mask } } = self;
        let mut sums = [0u64; TOGETHER];
        for (block, mask) in mask.chunks_mut(TOGETHER).enumerate() {
            let sums = &mut sums[..mask.len()];
            sums.fill(0);
            for (j, coefficient) in coefficients.iter().enumerate() {
                for (sum, &id) in sums.iter_mut().zip(&ids[block * TOGETHER + j..][..mask.len()]) {
                    *sum = sum.wrapping_add(coefficient.cast_unsigned().wrapping_mul(id.into()));
                }
            }
            dropped.decide(sums, mask);
        }
    }

    fn one_by_one(self) {
        self.in_lanes();
    }
}
