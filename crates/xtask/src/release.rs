//! The files of a release: an archive with the program, and the wheel of the Python package.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Args;
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

use crate::changelog::{self, VERSION};
use crate::tools::{cargo, output, root, run as run_command, target};
use crate::{licenses, python};

/// Each shell, and the name that its scripts of completions have.
const SHELLS: [(&str, &str); 5] = [
    ("bash", "goldfish.bash"),
    ("elvish", "goldfish.elv"),
    ("fish", "goldfish.fish"),
    ("powershell", "_goldfish.ps1"),
    ("zsh", "_goldfish"),
];

/// Files of the repository that are in the archive.
const TEXTS: [&str; 4] = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// The file in the archive with the licenses of others.
const LICENSES: &str = "LICENSES-OF-OTHERS.txt";

/// Makes a container of what is in the archive.
const CONTAINERFILE: &str = include_str!("Containerfile");

/// The time of all files in the archive, so that the same files make the same archive: the first day of 1980.
const TIME: u64 = 315_532_800;

#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Features of the program besides its default ones, as cargo takes them.
    #[arg(long, default_value = "object-stores")]
    pub(crate) features: String,
    /// The tag of the release. It must be v and the version, and CHANGELOG.md must have that version's section, which is
    /// written to notes.md.
    #[arg(long)]
    pub(crate) tag: Option<String>,
}

/// The paths of an archive's files, and for each its bytes and whether it is a program.
type Files = BTreeMap<String, (Vec<u8>, bool)>;

/// Builds all files for this machine; returns their folder below the target folder.
pub(crate) fn run(options: &Options) -> anyhow::Result<PathBuf> {
    let notes = options.tag.as_deref().map(notes).transpose()?;
    let folder = target().join("release-files");
    remove(&folder)?;
    fs::create_dir_all(&folder)?;

    let host = host()?;
    let name = format!("goldfish-{VERSION}-{host}");
    let mut files = files(&program(&options.features)?)?;
    files.insert(LICENSES.to_owned(), (licenses::of_program(&options.features, &host)?.into(), false));
    let archive = folder.join(format!("{name}.tar.gz"));
    write_archive(&name, &files, fs::File::create(&archive)?)
        .with_context(|| archive.display().to_string())?;

    let wheel = python::wheel()?;
    let wheel_name = wheel.file_name().context("a wheel without a name")?;
    fs::copy(&wheel, folder.join(wheel_name))?;

    fs::write(folder.join("SHA256SUMS"), checksums(&[archive, wheel])?)?;
    if let Some(notes) = notes {
        fs::write(folder.join("notes.md"), notes)?;
    }
    Ok(folder)
}

/// The release notes of the version that a tag names.
fn notes(tag: &str) -> anyhow::Result<String> {
    ensure!(
        tag.strip_prefix('v') == Some(VERSION),
        "the tag {tag} is not v{VERSION}, the version in Cargo.toml"
    );
    changelog::current()
}

/// The target of this machine, such as x86_64-unknown-linux-gnu.
fn host() -> anyhow::Result<String> {
    let output =
        Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV").output()?;
    let text = String::from_utf8(output.stdout)?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Builds the program, on Linux without shared libraries; returns its path, that of every release build.
fn program(features: &str) -> anyhow::Result<PathBuf> {
    let mut build = cargo();
    build.args(["rustc", "--release", "--locked", "--package", "goldfish-cli", "--bin", "goldfish"]);
    if !features.is_empty() {
        build.args(["--features", features]);
    }
    if cfg!(target_os = "linux") {
        // Given to the last crate only, so that all others are shared with an ordinary build.
        build.args(["--", "-C", "target-feature=+crt-static"]);
    }
    run_command(&mut build)?;
    Ok(target().join("release/goldfish"))
}

/// What is in the archive.
fn files(program: &Path) -> anyhow::Result<Files> {
    let mut files = Files::from([("goldfish".to_owned(), (fs::read(program)?, true))]);
    for name in TEXTS {
        files.insert(name.to_owned(), (fs::read(root().join(name)).context(name)?, false));
    }
    if cfg!(target_os = "linux") {
        files.insert("Containerfile".to_owned(), (CONTAINERFILE.into(), false));
    }
    for (shell, name) in SHELLS {
        let script = output(Command::new(program).args(["completions", shell]))?;
        files.insert(format!("completions/{name}"), (script, false));
    }
    let pages = target().join("release-pages");
    remove(&pages)?;
    output(Command::new(program).arg("man").arg(&pages))?;
    for page in fs::read_dir(&pages)? {
        let page = page?;
        let name = page.file_name().into_string().ok().context("a page whose name is not UTF-8")?;
        files.insert(format!("man/{name}"), (fs::read(page.path())?, false));
    }
    fs::remove_dir_all(&pages)?;
    Ok(files)
}

/// Writes a compressed archive of one folder. The same files make the same bytes.
fn write_archive(folder: &str, files: &Files, writer: impl Write) -> anyhow::Result<()> {
    let mut archive = Builder::new(GzBuilder::new().write(writer, Compression::best()));
    for (path, (bytes, is_program)) in files {
        let mut header = Header::new_gnu();
        header.set_mode(if *is_program { 0o755 } else { 0o644 });
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, format!("{folder}/{path}"), bytes.as_slice())?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

/// Lines for `sha256sum --check`.
fn checksums(paths: &[PathBuf]) -> anyhow::Result<String> {
    let mut text = String::new();
    for path in paths {
        let digest = Sha256::digest(fs::read(path)?);
        let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = path.file_name().context("a file without a name")?;
        text += &format!("{digits}  {}\n", name.display());
    }
    Ok(text)
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_make_the_same_archive() {
        let files = Files::from([
            ("goldfish".to_owned(), (b"program".to_vec(), true)),
            ("README.md".to_owned(), (b"text".to_vec(), false)),
        ]);
        let archive = || {
            let mut bytes = Vec::new();
            write_archive("goldfish-1", &files, &mut bytes).unwrap();
            bytes
        };
        let bytes = archive();
        assert_eq!(bytes, archive());
        let mut read = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let found: Vec<_> = read
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                let path = entry.path().unwrap().display().to_string();
                (
                    path,
                    header.mode().unwrap(),
                    header.mtime().unwrap(),
                    header.uid().unwrap(),
                    header.size().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("goldfish-1/README.md".to_owned(), 0o644, TIME, 0, 4),
                ("goldfish-1/goldfish".to_owned(), 0o755, TIME, 0, 7)
            ]
        );
    }

    #[test]
    fn a_tag_names_the_version() {
        let error = notes("v9.9.9").unwrap_err().to_string();
        assert!(error.contains(&format!("is not v{VERSION}")), "{error}");
        assert!(notes(VERSION).is_err());
    }
}
