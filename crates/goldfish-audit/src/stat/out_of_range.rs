/// A number is out of its range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{name} is {value}, but must be {range}")]
pub struct OutOfRange {
    /// What the number is.
    pub name: &'static str,
    /// The number.
    pub value: f64,
    /// What it may be.
    pub range: &'static str,
}

impl OutOfRange {
    /// Fails unless the number fits.
    pub(crate) fn check(name: &'static str, value: f64, fits: bool, range: &'static str) -> Result<(), Self> {
        if fits { Ok(()) } else { Err(Self { name, value, range }) }
    }
}
