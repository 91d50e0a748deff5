//! The reference rules in PyTorch.

use std::process::Command;

use crate::measure::{build, python, root, target};

/// The script prints the rows and compares the masks.
pub(crate) fn torch() {
    build(&["-p", "xtask", "--example", "decide"]);
    let script = root().join("crates/xtask/benches/torch_rules.py");
    let mut peer = Command::new(python(true));
    let status = peer.arg(script).arg(target().join("release/examples/decide")).status();
    assert!(status.unwrap().success());
}
