//! Imports between the modules of a crate have no cycles.
//!
//! A module imports another if a `use` or a path in it names an item that is defined there. Declaring a child and
//! re-exporting its names (`mod child; pub use child::Name;`) is not an import; using a re-exported name imports the module
//! that defines it.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

/// A module's path below its crate; empty for the root.
type Name = Vec<String>;

/// The modules of a crate.
#[derive(Default)]
struct Modules {
    items: BTreeMap<Name, Vec<Item>>,
    /// Modules of tests, which may import what they like.
    tests: BTreeSet<Name>,
    /// The re-exports of each module: a name, or `*` for all, and its path from the root of the crate.
    exports: BTreeMap<Name, Vec<(String, Name)>>,
}

impl Modules {
    fn read(root: &Path) -> Self {
        let mut modules = Self::default();
        modules.add_folder(root, &[]);
        let Self { items, tests, .. } = &mut modules;
        items.retain(|module, _| !(0..=module.len()).any(|n| tests.contains(&module[..n])));
        let found: Vec<(Name, Vec<(String, Name)>)> = modules
            .items
            .iter()
            .map(|(module, items)| {
                let mut exports = Vec::new();
                for item in items {
                    if let Item::Use(item) = item
                        && !matches!(item.vis, Visibility::Inherited)
                    {
                        for (path, name) in leaves(&item.tree) {
                            exports.extend(modules.absolute(module, &path).map(|path| (name, path)));
                        }
                    }
                }
                (module.clone(), exports)
            })
            .collect();
        modules.exports.extend(found);
        modules
    }

    fn add_folder(&mut self, folder: &Path, module: &[String]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let own = match stem.as_str() {
                "lib" | "main" | "mod" => module.to_vec(),
                _ => [module, &[stem]].concat(),
            };
            if path.is_dir() {
                self.add_folder(&path, &own);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
                self.add_items(own, file.items);
            }
        }
    }

    fn add_items(&mut self, module: Name, items: Vec<Item>) {
        let mut own = Vec::new();
        for item in items {
            match item {
                Item::Mod(inner) if is_test(&inner.attrs) => {
                    self.tests.insert([&module[..], &[inner.ident.to_string()]].concat());
                }
                Item::Mod(inner) if inner.content.is_some() => {
                    let name = [&module[..], &[inner.ident.to_string()]].concat();
                    self.add_items(name, inner.content.unwrap().1);
                }
                item => own.push(item),
            }
        }
        self.items.entry(module).or_default().extend(own);
    }

    /// A path in a module as a path from the root; `None` if it is outside of the crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Name> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([module, rest].concat()),
            "super" => {
                let parent = &module[..module.len().checked_sub(1)?];
                match rest.first().map(String::as_str) {
                    Some("super") => self.absolute(parent, rest),
                    _ => Some([parent, rest].concat()),
                }
            }
            _ => {
                let child = [module, &path[..1]].concat();
                self.items.contains_key(&child).then(|| [module, path].concat())
            }
        }
    }

    /// The module that defines the item at a path from the root.
    fn home(&self, path: &[String], depth: usize) -> Name {
        let length = (0..=path.len()).rev().find(|&n| self.items.contains_key(&path[..n])).unwrap();
        let (module, rest) = path.split_at(length);
        let Some(name) = rest.first().filter(|_| depth < 8) else { return module.to_vec() };
        let exports = self.exports.get(module).into_iter().flatten();
        for (exported, target) in exports {
            if exported == name {
                return self.home(&[&target[..], &rest[1..]].concat(), depth + 1);
            }
            if exported == "*" && self.defines(target, name) {
                return target.clone();
            }
        }
        module.to_vec()
    }

    fn defines(&self, module: &[String], name: &str) -> bool {
        self.items.get(module).into_iter().flatten().any(|item| match item {
            Item::Const(item) => item.ident == name,
            Item::Enum(item) => item.ident == name,
            Item::Fn(item) => item.sig.ident == name,
            Item::Struct(item) => item.ident == name,
            Item::Trait(item) => item.ident == name,
            Item::Type(item) => item.ident == name,
            _ => false,
        })
    }

    /// The modules that each module imports, with an example of an imported name.
    fn imports(&self) -> BTreeMap<&Name, BTreeMap<Name, String>> {
        let mut all = BTreeMap::new();
        for (module, items) in &self.items {
            let mut paths = Paths::default();
            items.iter().for_each(|item| paths.visit_item(item));
            let mut imported = BTreeMap::new();
            for path in paths.0 {
                let Some(path) = self.absolute(module, &path) else { continue };
                let home = self.home(&path, 0);
                if home != *module {
                    imported.entry(home).or_insert_with(|| path.last().cloned().unwrap_or_default());
                }
            }
            all.insert(module, imported);
        }
        all
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let is_cfg_test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|cfg| cfg == "test")
    };
    attributes.iter().any(is_cfg_test)
}

/// Each path of a `use`, and the name that it introduces.
fn leaves(tree: &UseTree) -> Vec<(Name, String)> {
    match tree {
        UseTree::Path(path) => {
            let below = leaves(&path.tree).into_iter();
            below.map(|(rest, name)| ([vec![path.ident.to_string()], rest].concat(), name)).collect()
        }
        UseTree::Name(name) if name.ident == "self" => vec![(Vec::new(), "self".into())],
        UseTree::Name(name) => vec![(vec![name.ident.to_string()], name.ident.to_string())],
        UseTree::Rename(rename) => vec![(vec![rename.ident.to_string()], rename.rename.to_string())],
        UseTree::Glob(_) => vec![(Vec::new(), "*".into())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// The paths of private imports and of code.
#[derive(Default)]
struct Paths(Vec<Name>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if matches!(item.vis, Visibility::Inherited) {
            self.0.extend(leaves(&item.tree).into_iter().map(|(path, _)| path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }
}

/// The imports that are part of cycles: repeatedly removes modules that import no others or that no others import.
fn cycles(imports: &BTreeMap<&Name, BTreeMap<Name, String>>) -> Vec<String> {
    let mut left: BTreeSet<&Name> = imports.keys().copied().collect();
    loop {
        let within = |module: &&Name| imports[*module].keys().any(|other| left.contains(other));
        let imported = |module: &&Name| left.iter().any(|other| imports[*other].contains_key(*module));
        let kept: BTreeSet<&Name> =
            left.iter().copied().filter(|module| within(module) && imported(module)).collect();
        if kept.len() == left.len() {
            break;
        }
        left = kept;
    }
    let show = |module: &Name| if module.is_empty() { "crate".into() } else { module.join("::") };
    left.iter()
        .flat_map(|module| imports[*module].iter().map(move |(other, name)| (*module, other, name)))
        .filter(|(_, other, _)| left.contains(other))
        .map(|(module, other, name)| format!("{} -> {} ({name})", show(module), show(other)))
        .collect()
}

#[test]
fn modules_have_no_cycles() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut modules = 0;
    for entry in fs::read_dir(crates).unwrap() {
        let root = entry.unwrap().path().join("src");
        if !root.is_dir() {
            continue;
        }
        let read = Modules::read(&root);
        modules += read.items.len();
        let cycles = cycles(&read.imports());
        if !cycles.is_empty() {
            let name = root.parent().unwrap().file_name().unwrap().to_str().unwrap();
            found.push(format!("{name}:\n  {}", cycles.join("\n  ")));
        }
    }
    assert!(modules > 250, "{modules} modules");
    assert!(found.is_empty(), "cycles of modules:\n{}", found.join("\n"));
}

#[test]
fn finds_a_cycle() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("lib.rs", "mod a; mod b; mod c; #[cfg(test)] mod d; pub use a::A; pub use b::B;");
    write("a.rs", "pub struct A; fn f() -> crate::B { todo!() }");
    write("c.rs", "#[cfg(test)] mod tests { use crate::A; }");
    write("d.rs", "use crate::A;");
    write("b.rs", "use crate::{c, d}; pub struct B;");
    assert!(cycles(&Modules::read(folder.path()).imports()).is_empty());
    write("c.rs", "use super::A;");
    let found = cycles(&Modules::read(folder.path()).imports());
    assert_eq!(found, ["a -> b (B)", "b -> c (c)", "c -> a (A)"]);
}
