//! Completion servers.
