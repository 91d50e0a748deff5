//! One file a verb.

pub(crate) mod inspect;
pub(crate) mod mask;
pub(crate) mod verify;
