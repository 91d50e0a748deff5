//! Counts by the values of a column: with polars, or not at all.

use crate::gaps::Stretches;

#[cfg(feature = "polars")]
pub(crate) use crate::frames::ColumnCounts;
#[cfg(not(feature = "polars"))]
pub(crate) use without::ColumnCounts;

/// What one document adds to its group.
#[cfg_attr(not(feature = "polars"), expect(dead_code, reason = "nothing counts them"))]
pub(crate) struct DocumentCounts {
    pub(crate) value: Option<String>,
    pub(crate) tokens: u64,
    pub(crate) stretches: Stretches,
    /// Decided tokens and those of them that were dropped, of sampled documents.
    pub(crate) decided: (u64, u64),
}

#[cfg(not(feature = "polars"))]
mod without {
    use std::convert::Infallible;

    use super::DocumentCounts;
    use crate::error::InspectError;
    use crate::report::Groups;

    /// A build without polars has none of these.
    pub(crate) struct ColumnCounts(Infallible);

    impl ColumnCounts {
        pub(crate) fn new(column: String) -> Result<Self, InspectError> {
            Err(InspectError::NoGroups { column })
        }

        pub(crate) fn column(&self) -> &str {
            match self.0 {}
        }

        pub(crate) fn add(&mut self, _: DocumentCounts) -> Result<(), InspectError> {
            match self.0 {}
        }

        pub(crate) fn report(self) -> Result<Groups, InspectError> {
            match self.0 {}
        }
    }
}
