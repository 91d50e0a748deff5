use std::fmt;

use crate::Window;

/// The key that a rule decides each window of token ids by, to find windows that it can't distinguish.
///
/// Two windows with the same key have the same decision. A sound rule gives different windows different keys, but
/// for chance; a product of ids does not.
///
/// ```
/// use goldfish_mask::RuleSpec;
/// use goldfish_mask::rules::HashTable;
///
/// let spec = RuleSpec::new(HashTable::new(4).context(2));
/// let keys = spec.window_keys().expect("the rule decides by windows of tokens");
/// let mut found = Vec::new();
/// keys.for_each(&[6, 4, 8, 3, 0], |position, key| found.push((position, key)));
/// assert_eq!(found, [(1, 24), (2, 32), (3, 24), (4, 0)]);
/// ```
pub struct WindowKeys<'a> {
    context: usize,
    window: Window,
    space: u64,
    key: Box<dyn KeyFunction + 'a>,
}

/// A function of a window, with a loop over windows that is compiled for it.
trait KeyFunction: Send + Sync {
    fn one(&self, window: &[u32]) -> u64;
    fn each(&self, ids: &[u32], width: usize, keys: &mut [u64]);
}

impl<F: Fn(&[u32]) -> u64 + Send + Sync> KeyFunction for F {
    fn one(&self, window: &[u32]) -> u64 {
        self(window)
    }

    fn each(&self, ids: &[u32], width: usize, keys: &mut [u64]) {
        keys.iter_mut().zip(ids.windows(width)).for_each(|(key, window)| *key = self(window));
    }
}

/// Windows whose keys are computed in one call.
const TOGETHER: usize = 256;

impl<'a> WindowKeys<'a> {
    /// The keys of windows of `context` tokens, at least one, each below `space`.
    #[must_use]
    pub fn new(
        context: u32,
        window: Window,
        space: u64,
        key: impl Fn(&[u32]) -> u64 + Send + Sync + 'a,
    ) -> Self {
        Self { context: context.max(1) as usize, window, space, key: Box::new(key) }
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
        let end = position + self.window.overhang();
        ids.get(end.checked_sub(self.context)?..end).filter(|_| position < ids.len())
    }

    /// The key of a full window.
    #[must_use]
    pub fn key(&self, window: &[u32]) -> u64 {
        self.key.one(window)
    }

    /// Calls `f(position, key)` for every position of a document whose window is full.
    pub fn for_each(&self, ids: &[u32], mut f: impl FnMut(usize, u64)) {
        let first = self.context - self.window.overhang();
        let mut keys = [0; TOGETHER];
        for start in (first..ids.len()).step_by(TOGETHER) {
            let keys = &mut keys[..TOGETHER.min(ids.len() - start)];
            self.key.each(&ids[start - first..], self.context, keys);
            (start..).zip(&*keys).for_each(|(position, &key)| f(position, key));
        }
    }
}

impl fmt::Debug for WindowKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { context, window, space, .. } = self;
        let mut debug = f.debug_struct("WindowKeys");
        debug.field("context", context).field("window", window).field("space", space).finish_non_exhaustive()
    }
}
