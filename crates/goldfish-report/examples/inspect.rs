//! Writes the pages of the tests' samples, to be looked at: `cargo run -p goldfish-report --example inspect -- FOLDER`.

#[path = "../tests/common/mod.rs"]
mod common;

use std::path::PathBuf;

use goldfish_report::{InspectPage, inspect_page};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("give a folder for the pages")?);
    std::fs::create_dir_all(&folder)?;
    let hostile = common::hostile("<script>alert(1)</script> \"'>\u{202E}gnp.exe\0\n\u{1b}[31m مرحبا");
    for (name, (inspection, manifest)) in
        [("healthy", common::healthy()), ("unsound", common::unsound()), ("hostile", hostile)]
    {
        let page = InspectPage {
            inspection: &inspection,
            manifest: &manifest,
            input_bytes: common::input_bytes(&manifest),
            folder: "corpus/masked",
            command: common::COMMAND,
            token_text: Some(&common::token_text),
        };
        std::fs::write(folder.join(format!("{name}.html")), inspect_page(&page)?)?;
    }
    Ok(())
}
