//! Writes the pages of made-up experiments, for the tests of pages: `experiments FOLDER`.

#![allow(clippy::unwrap_used, reason = "an example")]

#[path = "../tests/common/experiments.rs"]
mod experiments;

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give a folder for the pages")?);
    std::fs::create_dir_all(&folder)?;
    for (name, page) in [
        ("sweep", experiments::sweep()),
        ("copy", experiments::copy()),
        ("memory", experiments::memory()),
        ("repair", experiments::repair()),
    ] {
        std::fs::write(folder.join(format!("{name}.html")), page)?;
    }
    Ok(())
}
