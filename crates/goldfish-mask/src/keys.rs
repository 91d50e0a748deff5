use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::rules::product::avalanche;
use crate::rules::table::TABLE_LEN;
use crate::spec::{RuleParameters, RuleSpec, Window};

/// Tells the key that a rule decides each window of token ids by, to see which windows it can't tell apart.
///
/// Two windows with the same key have the same decision. A sound rule gives different windows different keys but
/// for chance; a product of ids does not.
///
/// ```
/// use goldfish_mask::{RuleParameters, RuleSpec, TableSource, WindowKeys};
///
/// let spec = RuleSpec::new(RuleParameters::HashTable { k: 4, context: 2, table: TableSource::Cpu });
/// let keys = WindowKeys::of(&spec).expect("the rule looks at windows of tokens");
/// let mut found = Vec::new();
/// keys.for_each(&[6, 4, 8, 3, 0], |position, key| found.push((position, key)));
/// assert_eq!(found, [(1, 24), (2, 32), (3, 24), (4, 0)]);
/// ```
#[derive(Debug)]
pub struct WindowKeys<'a> {
    spec: &'a RuleSpec,
    context: usize,
    overhang: usize,
    space: u64,
}

impl<'a> WindowKeys<'a> {
    /// The keys of a rule, unless it looks at no window of tokens (`static`, `random`, `text-v1`).
    #[must_use]
    pub fn of(spec: &'a RuleSpec) -> Option<Self> {
        let (overhang, space) = match spec.parameters {
            RuleParameters::Static { .. } | RuleParameters::Random { .. } | RuleParameters::Text { .. } => {
                return None;
            }
            RuleParameters::Hash { window: Window::Preceding, .. } => (0, u64::MAX),
            RuleParameters::Hash { window: Window::Inclusive, .. } => (1, u64::MAX),
            RuleParameters::HashAvalanche { .. } => (1, 1 << 32),
            RuleParameters::HashTable { .. } | RuleParameters::CoefficientSum { .. } => (1, TABLE_LEN as u64),
        };
        Some(Self { spec, context: spec.context()? as usize, overhang, space })
    }

    /// Tokens in a window.
    #[must_use]
    pub fn context(&self) -> usize {
        self.context
    }

    /// How many keys there are.
    #[must_use]
    pub fn space(&self) -> u64 {
        self.space
    }

    /// The full window that decides `position` of a document, if there is one.
    #[must_use]
    pub fn window<'i>(&self, ids: &'i [u32], position: usize) -> Option<&'i [u32]> {
        let end = position + self.overhang;
        ids.get(end.checked_sub(self.context)?..end).filter(|_| position < ids.len())
    }

    /// The key of a full window.
    #[must_use]
    pub fn key(&self, window: &[u32]) -> u64 {
        let product = || window.iter().fold(1u64, |product, &id| product.wrapping_mul(id.into()));
        match &self.spec.parameters {
            RuleParameters::Hash { seed, .. } => xxh3_64_with_seed(bytemuck::cast_slice(window), *seed),
            RuleParameters::HashAvalanche { .. } => avalanche(product()),
            RuleParameters::CoefficientSum { coefficients, .. } => {
                let terms = coefficients.iter().zip(window).map(|(&c, &id)| c.wrapping_mul(id.into()));
                terms.fold(0i64, i64::wrapping_add).rem_euclid(TABLE_LEN as i64).cast_unsigned()
            }
            _ => product().cast_signed().rem_euclid(TABLE_LEN as i64).cast_unsigned(),
        }
    }

    /// Calls `f(position, key)` for every position of a document whose window is full.
    pub fn for_each(&self, ids: &[u32], mut f: impl FnMut(usize, u64)) {
        for position in (self.context - self.overhang)..ids.len() {
            if let Some(window) = self.window(ids, position) {
                f(position, self.key(window));
            }
        }
    }
}
