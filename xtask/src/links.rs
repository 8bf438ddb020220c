//! Checks that the files to which the documents lead exist.

use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

/// Folders whose files documents name in code, as `core/src/lib.rs`.
const FOLDERS: [&str; 9] = [
    "bench",
    "core",
    "docs",
    "firmware",
    "fuzz",
    "host-train",
    "models",
    "slots",
    "xtask",
];

/// Checks every Markdown file that git knows below `root`; returns how many
/// there were.
///
/// # Errors
/// Naming each link and each file in code that leads nowhere.
pub fn check(root: &Path) -> Result<usize> {
    let mut git = Command::new("git");
    let listed = git.args(["ls-files", "*.md"]).current_dir(root).output();
    let listed = listed.context("cannot run git, which lists the documents")?;
    ensure!(listed.status.success(), "git cannot list the documents");
    let (mut broken, mut count) = (Vec::new(), 0);
    for name in String::from_utf8(listed.stdout)?.lines() {
        // It names files as they were at the time.
        if name == "CHANGELOG.md" {
            continue;
        }
        let document = root.join(name);
        let text = std::fs::read_to_string(&document).with_context(|| format!("reading {name}"))?;
        let folder = document.parent().unwrap_or(root);
        let links = links(&text).filter(|link| !folder.join(link).exists());
        let files = files(&text).filter(|file| !root.join(file).exists());
        broken.extend(links.chain(files).map(|target| format!("{name}: {target}")));
        count += 1;
    }
    ensure!(
        broken.is_empty(),
        "documents lead to files that do not exist:\n{}",
        broken.join("\n")
    );
    Ok(count)
}

/// Targets of links to files, without the place within them.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#', ' ']).next()?;
        (!target.is_empty() && !target.contains("://")).then_some(target)
    })
}

/// Source files named in code.
fn files(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2).filter(|code| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-".contains(c);
        let ends = [".rs", ".py", ".toml", ".md"];
        code.chars().all(plain)
            && ends.iter().any(|end| code.ends_with(end))
            && code
                .split_once('/')
                .is_some_and(|(folder, _)| FOLDERS.contains(&folder))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_files_are_found() {
        let text = "[a](b.md#c) ![d](../e.png) [f](https://g.h) [i](#j) `core/src/k.rs` `l.rs`";
        assert_eq!(links(text).collect::<Vec<_>>(), ["b.md", "../e.png"]);
        assert_eq!(files(text).collect::<Vec<_>>(), ["core/src/k.rs"]);
    }

    #[test]
    fn the_documents_lead_somewhere() {
        assert!(check(crate::root()).unwrap() > 10);
    }
}
