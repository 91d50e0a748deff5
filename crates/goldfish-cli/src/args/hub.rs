//! Names of the Hugging Face Hub: what is in its cache on this machine. Nothing is downloaded.

use std::env;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Bytes of the name of a revision at most.
const MOST_REVISION: u64 = 128;

/// The path of a `tokenizer.json`, or the name of a model on the hub whose tokenizer is in the cache.
pub(super) fn tokenizer_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| in_cache(&path, "tokenizer.json").unwrap_or(path))
}

/// The path of a checkpoint's folder, or the name of a model on the hub whose checkpoint is in the cache.
pub(super) fn checkpoint_folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| {
        let config = in_cache(&path, "config.json");
        config.and_then(|config| config.parent().map(Path::to_owned)).unwrap_or(path)
    })
}

/// A file of the model that a path names, if there is no such path but one of the cache.
fn in_cache(path: &Path, file: &str) -> Option<PathBuf> {
    if path.exists() {
        return None;
    }
    file_of(&cache(|name| env::var_os(name))?, &model_name(path)?, file)
}

/// `gpt2` or `EleutherAI/pythia-70m`, as the names of folders of the cache have it.
fn model_name(path: &Path) -> Option<String> {
    let is_plain = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    let part = |component: Component<'_>| match component {
        Component::Normal(part) => part.to_str().filter(|part| is_plain(part)).map(str::to_owned),
        _ => None,
    };
    let parts: Vec<String> = path.components().map(part).collect::<Option<_>>()?;
    (1..=2).contains(&parts.len()).then(|| format!("models--{}", parts.join("--")))
}

/// The folder of the cache, as the `huggingface_hub` library finds it.
fn cache(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    set("HF_HUB_CACHE")
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| Some(home()?.join("huggingface/hub")))
}

/// A file of the snapshot that the branch `main` is at.
fn file_of(cache: &Path, model: &str, file: &str) -> Option<PathBuf> {
    let model = cache.join(model);
    let revision = goldfish_storage::read(&model.join("refs/main"), MOST_REVISION).ok()?;
    let revision = std::str::from_utf8(&revision).ok()?.trim();
    let is_hash = (1..=64).contains(&revision.len()) && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    let path = model.join("snapshots").join(revision).join(file);
    (is_hash && path.is_file()).then_some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_of_the_cache_are_found_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("models--EleutherAI--pythia-70m");
        let snapshot = model.join("snapshots/0123abcd");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(model.join("refs")).unwrap();
        fs::write(model.join("refs/main"), "0123abcd").unwrap();
        fs::write(snapshot.join("tokenizer.json"), "{}").unwrap();
        let found = |name: &str, file: &str| file_of(folder.path(), &model_name(Path::new(name))?, file);
        assert_eq!(found("EleutherAI/pythia-70m", "tokenizer.json"), Some(snapshot.join("tokenizer.json")));
        assert_eq!(found("EleutherAI/pythia-70m", "config.json"), None);
        assert_eq!(found("pythia-70m", "tokenizer.json"), None);
        fs::write(model.join("refs/main"), "../../../other").unwrap();
        assert_eq!(found("EleutherAI/pythia-70m", "tokenizer.json"), None);
    }

    #[test]
    fn names_are_plain() {
        let name = |path: &str| model_name(Path::new(path));
        assert_eq!(name("gpt2").as_deref(), Some("models--gpt2"));
        assert_eq!(name("a/b-c_1.5").as_deref(), Some("models--a--b-c_1.5"));
        for path in ["/gpt2", "../gpt2", "a/b/c", "", ".hidden", "a/.b", "a b", "~/x"] {
            assert_eq!(name(path), None, "{path}");
        }
    }

    #[test]
    fn the_cache_is_where_its_library_puts_it() {
        let of = |set: &'static [(&str, &str)]| {
            cache(move |name| set.iter().find(|one| one.0 == name).map(|one| one.1.into()))
        };
        let all = &[("HF_HUB_CACHE", "/a"), ("HF_HOME", "/b"), ("XDG_CACHE_HOME", "/c"), ("HOME", "/d")];
        assert_eq!(of(all), Some("/a".into()));
        assert_eq!(of(&[("HF_HUB_CACHE", ""), ("HF_HOME", "/b")]), Some("/b/hub".into()));
        assert_eq!(of(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/d")]), Some("/c/huggingface/hub".into()));
        assert_eq!(of(&[("HOME", "/d")]), Some("/d/.cache/huggingface/hub".into()));
        assert_eq!(of(&[]), None);
    }
}
