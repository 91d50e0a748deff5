//! The reference rules beside PyTorch.

use std::process::Command;

use crate::measure::{build, python, root, target};

/// The script prints the rows: it holds both sides' answers against each other.
pub(crate) fn torch() {
    build(&["-p", "xtask", "--example", "decide"]);
    let script = root().join("crates/xtask/benches/torch_rules.py");
    let mut peer = Command::new(python(true));
    let status = peer.arg(script).arg(target().join("release/examples/decide")).status();
    assert!(status.unwrap().success());
}
