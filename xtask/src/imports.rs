//! Checks that a crate's modules import each other in one direction.
//!
//! The modules of one folder must not form a cycle, however long: neither by
//! `use` nor by a path in the code. `pub use` in a parent is a shop window, not an
//! import; a path through it counts as a path to the module behind it. Tests
//! inside a module may use what they like.

use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use syn::punctuated::Punctuated;
use syn::visit::Visit;
use syn::{Attribute, Item, Token, UseTree};

/// Names of modules from the crate's root on.
type ModulePath = Vec<String>;

#[derive(Debug, Default)]
struct Module {
    children: BTreeSet<String>,
    /// What `pub use` shows under which name.
    windows: BTreeMap<String, Vec<String>>,
    /// Paths in `use` and in the code, as written.
    paths: BTreeSet<Vec<String>>,
}

/// All modules of a crate.
#[derive(Debug, Default)]
struct Crate(BTreeMap<ModulePath, Module>);

/// Checks the crate whose root module is `file`.
///
/// # Errors
/// If a file cannot be read, or naming a cycle in each folder that has one.
pub fn check(file: &Path) -> Result<()> {
    let mut found = Crate::default();
    found.read(Vec::new(), file)?;
    let cycles: Vec<String> = found
        .edges()
        .iter()
        .filter_map(|(folder, edges)| {
            let name = [&["crate".to_owned()], folder.as_slice()].concat();
            Some(format!(
                "{}: {}",
                name.join("::"),
                cycle(edges)?.join(" -> ")
            ))
        })
        .collect();
    ensure!(
        cycles.is_empty(),
        "{}: modules import each other in a cycle; move what they share to a module of its own:\n{}",
        file.display(),
        cycles.join("\n")
    );
    Ok(())
}

impl Crate {
    /// Reads a module and all below it.
    fn read(&mut self, path: ModulePath, file: &Path) -> Result<()> {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("cannot parse {}", file.display()))?;
        let stem = file.file_stem().unwrap_or_default();
        let folder = file.parent().unwrap_or(Path::new("."));
        let folder = match stem.to_str() {
            Some("lib" | "main" | "mod") => folder.to_owned(),
            _ => folder.join(stem),
        };
        self.read_items(path, &parsed.items, &folder)
    }

    fn read_items(&mut self, path: ModulePath, items: &[Item], folder: &Path) -> Result<()> {
        let mut module = Module::default();
        for item in items {
            match item {
                Item::Mod(item) if is_test(&item.attrs) => {}
                Item::Mod(item) => {
                    let name = item.ident.to_string();
                    let child = [path.clone(), vec![name.clone()]].concat();
                    match &item.content {
                        Some((_, items)) => self.read_items(child, items, &folder.join(&name))?,
                        None => self.read(child, &file_of(folder, &name)?)?,
                    }
                    module.children.insert(name);
                }
                Item::Use(item) => {
                    let mut leaves = Vec::new();
                    flatten(&item.tree, &mut Vec::new(), &mut leaves);
                    let shown = !matches!(item.vis, syn::Visibility::Inherited);
                    for (name, target) in leaves {
                        if shown {
                            module.windows.insert(name, target);
                        } else {
                            module.paths.insert(target);
                        }
                    }
                }
                item => Paths(&mut module.paths).visit_item(item),
            }
        }
        self.0.insert(path, module);
        Ok(())
    }

    /// The module that a path leads to from `from`; `None` if it leads out of
    /// the crate or to something of `from`'s own.
    fn resolve(&self, from: &[String], path: &[String], depth: u8) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        // A window that shows itself would lead nowhere.
        let depth = depth.checked_sub(1)?;
        let mut at = match first.as_str() {
            "crate" => Vec::new(),
            "self" => from.to_vec(),
            "super" => from.split_last()?.1.to_vec(),
            name if self.0.get(from)?.children.contains(name) => [from, &[name.into()]].concat(),
            _ => return None,
        };
        for (index, name) in rest.iter().enumerate() {
            let module = self.0.get(&at)?;
            if name == "super" {
                at.pop();
            } else if module.children.contains(name) {
                at.push(name.clone());
            } else if let Some(target) = module.windows.get(name) {
                let target = [target.as_slice(), &rest[index + 1..]].concat();
                return self.resolve(&at, &target, depth);
            } else {
                break;
            }
        }
        Some(at)
    }

    /// For each module with children, which of these use which; the module
    /// itself takes part as `self`.
    fn edges(&self) -> BTreeMap<ModulePath, BTreeMap<String, BTreeSet<String>>> {
        let mut all: BTreeMap<_, BTreeMap<_, BTreeSet<_>>> = BTreeMap::new();
        for (from, module) in &self.0 {
            for path in &module.paths {
                let Some(to) = self.resolve(from, path, 16) else {
                    continue;
                };
                if to == *from {
                    continue;
                }
                let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
                let part = |path: &ModulePath| {
                    let name = path.get(common).cloned();
                    name.unwrap_or_else(|| "self".into())
                };
                all.entry(from[..common].to_vec())
                    .or_default()
                    .entry(part(from))
                    .or_default()
                    .insert(part(&to));
            }
        }
        all
    }
}

/// Collects paths that may lead to another module.
struct Paths<'p>(&'p mut BTreeSet<Vec<String>>);

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|part| part.ident.to_string());
        let names: Vec<_> = names.collect();
        if names.len() > 1 {
            self.0.insert(names);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_test(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let mut leaves = Vec::new();
        flatten(&item.tree, &mut Vec::new(), &mut leaves);
        self.0.extend(leaves.into_iter().map(|(_, path)| path));
    }
}

/// The names that a `use` brings, each with its path.
fn flatten(tree: &UseTree, prefix: &mut Vec<String>, leaves: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            flatten(&path.tree, prefix, leaves);
            prefix.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                flatten(tree, prefix, leaves);
            }
        }
        UseTree::Glob(_) => leaves.push(("*".into(), prefix.clone())),
        UseTree::Name(name) if name.ident == "self" => {
            let last = prefix.last().cloned().unwrap_or_default();
            leaves.push((last, prefix.clone()));
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            leaves.push((name.clone(), [prefix.as_slice(), &[name]].concat()));
        }
        UseTree::Rename(rename) => {
            let path = [prefix.as_slice(), &[rename.ident.to_string()]].concat();
            leaves.push((rename.rename.to_string(), path));
        }
    }
}

/// Whether an item exists in tests only: under `cfg(test)` or `cfg(all(test, ..))`.
fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let condition = attribute.parse_args::<syn::Meta>().ok();
        attribute.path().is_ident("cfg") && condition.is_some_and(|found| asks_for_test(&found))
    })
}

fn asks_for_test(condition: &syn::Meta) -> bool {
    let parts = Punctuated::<syn::Meta, Token![,]>::parse_terminated;
    condition.path().is_ident("test")
        || condition.path().is_ident("all")
            && condition
                .require_list()
                .and_then(|list| list.parse_args_with(parts))
                .is_ok_and(|parts| parts.iter().any(asks_for_test))
}

fn file_of(folder: &Path, name: &str) -> Result<PathBuf> {
    let candidates = [
        folder.join(format!("{name}.rs")),
        folder.join(name).join("mod.rs"),
    ];
    let found = candidates.into_iter().find(|file| file.exists());
    found.with_context(|| format!("no file for module {name} in {}", folder.display()))
}

/// A cycle of a graph, its first node once more at the end.
fn cycle(edges: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn visit(
        node: &String,
        edges: &BTreeMap<String, BTreeSet<String>>,
        trail: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        if let Some(start) = trail.iter().position(|seen| seen == node) {
            return Some([&trail[start..], std::slice::from_ref(node)].concat());
        }
        if done.contains(node) {
            return None;
        }
        trail.push(node.clone());
        for next in edges.get(node).into_iter().flatten() {
            if let Some(cycle) = visit(next, edges, trail, done) {
                return Some(cycle);
            }
        }
        trail.pop();
        done.insert(node.clone());
        None
    }
    let (mut trail, mut done) = (Vec::new(), BTreeSet::new());
    edges
        .keys()
        .find_map(|node| visit(node, edges, &mut trail, &mut done))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root;
    use std::fs::write;

    /// A crate of these files, checked.
    fn checked(files: &[(&str, &str)]) -> Result<()> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(folder.path().join(name), text).unwrap();
        }
        check(&folder.path().join("lib.rs"))
    }

    #[test]
    fn one_direction_passes() {
        let lib = "mod a; mod b; pub use b::B;";
        checked(&[
            ("lib.rs", lib),
            ("a.rs", "use crate::B; fn a(_: B) {}"),
            (
                "b.rs",
                "pub struct B; #[cfg(all(test, unix))] mod tests { use crate::a; }",
            ),
        ])
        .unwrap();
    }

    #[test]
    fn cycles_are_found_in_imports_paths_and_windows() {
        for (a, b) in [
            ("use crate::b::B;", "use super::a::A; pub struct B;"),
            ("use crate::B;", "pub struct B; fn b() { crate::a::A; }"),
            ("use crate::B;", "pub struct B; use crate::own;"),
        ] {
            let lib = "mod a; mod b; pub use b::B; fn own() { a::A; }";
            let error = checked(&[("lib.rs", lib), ("a.rs", a), ("b.rs", b)]).unwrap_err();
            assert!(error.to_string().contains("a -> b -> "), "{error}");
        }
    }

    #[test]
    fn the_crates_import_in_one_direction() {
        for name in crate::hygiene::ONE_WAY {
            check(&root().join(name).join("src/lib.rs")).unwrap();
        }
    }
}
