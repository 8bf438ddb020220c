//! A disk that loses power after any operation, and one that fills up.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;

const FILES: [&str; 3] = ["a", "b", "state"];
const RUN: &str = "run";

/// What a generation has in a file.
fn content(number: u32, name: &str) -> Vec<u8> {
    format!("{name} of {number}").into_bytes()
}

/// Writes a generation as checkpoints are written.
fn save<D: Disk>(generations: &Generations<'_, D>, number: u32) -> io::Result<()> {
    let draft = generations.begin(number)?;
    for name in FILES {
        draft.add(name, &content(number, name))?;
    }
    draft.publish()?;
    generations.remove_before(number)
}

/// The names of an inode's children.
type Names = BTreeMap<String, usize>;

/// Something that the disk may lose until a sync.
#[derive(Clone, Debug)]
enum Change {
    /// In the folder `.0` the name `.1` is for the inode `.2`, or for none.
    Name(usize, String, Option<usize>),
    /// In the folder `.0` the inode `.3` is called `.2` instead of `.1`, in one
    /// step.
    Moved(usize, String, String, usize),
    /// The file `.0` has these bytes.
    Bytes(usize, Vec<u8>),
}

/// Folders and files by inode; 0 is the run's folder.
#[derive(Clone, Debug, Default)]
struct Tree {
    folders: BTreeMap<usize, Names>,
    files: BTreeMap<usize, Vec<u8>>,
}

impl Tree {
    fn apply(&mut self, change: &Change) {
        match change.clone() {
            Change::Name(folder, name, Some(inode)) => {
                self.folders.entry(folder).or_default().insert(name, inode);
            }
            Change::Name(folder, name, None) => {
                self.folders.entry(folder).or_default().remove(&name);
            }
            Change::Moved(folder, from, to, inode) => {
                let names = self.folders.entry(folder).or_default();
                names.remove(&from);
                names.insert(to, inode);
            }
            Change::Bytes(file, bytes) => {
                self.files.insert(file, bytes);
            }
        }
    }
}

/// A disk in memory that counts its operations and refuses all from one on, as
/// one does without power.
struct Fragile {
    /// As a process sees it.
    seen: RefCell<Tree>,
    /// As it is after a power cut, but for `pending`.
    kept: RefCell<Tree>,
    pending: RefCell<Vec<Change>>,
    inodes: Cell<usize>,
    left: Cell<usize>,
}

impl Fragile {
    fn new(kept: Tree, operations: usize) -> Self {
        let most = kept.folders.keys().chain(kept.files.keys()).max();
        Self {
            inodes: Cell::new(most.map_or(1, |inode| inode + 1)),
            seen: RefCell::new(kept.clone()),
            kept: RefCell::new(kept),
            pending: RefCell::default(),
            left: Cell::new(operations),
        }
    }

    fn operation(&self) -> io::Result<()> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(io::Error::other("no power"))
    }

    fn change(&self, change: Change) {
        self.seen.borrow_mut().apply(&change);
        self.pending.borrow_mut().push(change);
    }

    /// The disk takes what is pending of an inode.
    fn sync(&self, inode: usize) {
        let mut kept = self.kept.borrow_mut();
        self.pending.borrow_mut().retain(|change| {
            let (Change::Name(of, ..) | Change::Moved(of, ..) | Change::Bytes(of, _)) = change;
            if *of == inode {
                kept.apply(change);
            }
            *of != inode
        });
    }

    fn split<'p>(&self, path: &'p Path) -> (usize, &'p str) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let parent = path.parent().unwrap();
        (self.folder(parent), name)
    }

    fn folder(&self, path: &Path) -> usize {
        match path == Path::new(RUN) {
            true => 0,
            false => self.inode(path).expect("a folder"),
        }
    }

    fn inode(&self, path: &Path) -> Option<usize> {
        let (folder, name) = self.split(path);
        let seen = self.seen.borrow();
        seen.folders.get(&folder)?.get(name).copied()
    }

    fn fresh(&self) -> usize {
        self.inodes.replace(self.inodes.get() + 1)
    }

    /// Every disk that may be found after a power cut: any of the pending
    /// changes may be on it, and of bytes a part.
    fn after_power_cut(&self) -> Vec<Tree> {
        let pending = self.pending.borrow();
        let mut found = vec![self.kept.borrow().clone()];
        for change in pending.iter() {
            let mut cases = vec![change.clone()];
            if let Change::Bytes(file, bytes) = change {
                cases.push(Change::Bytes(*file, bytes[..bytes.len() / 2].to_vec()));
            }
            let with = |tree: &Tree| {
                let mut trees = vec![tree.clone()];
                for case in &cases {
                    let mut tree = tree.clone();
                    tree.apply(case);
                    trees.push(tree);
                }
                trees
            };
            found = found.iter().flat_map(with).collect();
        }
        found
    }
}

impl Disk for &Fragile {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        let (parent, name) = self.split(path);
        assert!(self.inode(path).is_none(), "{name} is there");
        let inode = self.fresh();
        self.change(Change::Name(parent, name.to_owned(), Some(inode)));
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.operation()?;
        let (parent, name) = self.split(path);
        assert!(self.inode(path).is_none(), "{name} is there");
        let inode = self.fresh();
        self.change(Change::Name(parent, name.to_owned(), Some(inode)));
        self.change(Change::Bytes(inode, bytes.to_vec()));
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        self.sync(self.inode(path).expect("a file"));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        self.sync(self.folder(path));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        let (parent, name) = self.split(from);
        let (_, other) = self.split(to);
        let inode = self.inode(from).expect("a folder");
        let (name, other) = (name.to_owned(), other.to_owned());
        self.change(Change::Moved(parent, name, other, inode));
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        let (parent, name) = self.split(path);
        let inode = self.inode(path).expect("a folder");
        let names = self.seen.borrow().folders.get(&inode).cloned();
        for child in names.unwrap_or_default().into_keys() {
            self.change(Change::Name(inode, child, None));
        }
        self.change(Change::Name(parent, name.to_owned(), None));
        Ok(())
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let seen = self.seen.borrow();
        let names = seen.folders.get(&self.folder(path));
        Ok(names
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect())
    }
}

/// The newest generation of a disk, if it has one, and what of it is not whole.
fn newest(tree: &Tree) -> (Option<u32>, Vec<&'static str>) {
    let disk = Fragile::new(tree.clone(), 0);
    let generations = Generations::on(&disk, Path::new(RUN), "run-");
    let Some(number) = generations.newest().unwrap() else {
        return (None, Vec::new());
    };
    let inode = tree.folders[&0][&format!("run-{number:08}")];
    let names = tree.folders.get(&inode);
    let mut broken = FILES.to_vec();
    broken.retain(|&name| {
        let file = names.and_then(|names| tree.files.get(names.get(name)?));
        file != Some(&content(number, name))
    });
    (Some(number), broken)
}

#[test]
fn a_power_cut_leaves_the_generation_before_or_the_new_one() {
    let parent = Path::new(RUN);
    let (mut cuts, mut disks) = (0, 0);
    // From nothing to a first one, and from that to a second.
    for (before, number) in [(None, 20), (Some(20), 40)] {
        let mut start = Tree::default();
        start.folders.insert(0, Names::new());
        if let Some(before) = before {
            let disk = Fragile::new(start, 100);
            save(&Generations::on(&disk, parent, "run-"), before).unwrap();
            start = disk.seen.borrow().clone();
        }
        let (mut finished, mut seen_both) = (false, [false; 2]);
        for operations in 0.. {
            let disk = Fragile::new(start.clone(), operations);
            finished = save(&Generations::on(&disk, parent, "run-"), number).is_ok();
            cuts += 1;
            for tree in disk.after_power_cut() {
                disks += 1;
                let (found, broken) = newest(&tree);
                assert!(broken.is_empty(), "{broken:?} of {found:?} in {tree:?}");
                assert!(found == before || found == Some(number), "{found:?}");
                seen_both[usize::from(found == before)] = true;
                // What was reported as saved is there for good.
                assert!(!finished || found == Some(number));
            }
            if finished {
                break;
            }
        }
        assert!(finished && seen_both == [true; 2]);
    }
    println!("{cuts} power cuts, {disks} disks");
    assert!(cuts > 20 && disks > 100, "{cuts} {disks}");
}

/// What the promise hangs on: without any one of the syncs some disk loses both
/// generations, or has a new one that is not whole.
#[test]
fn every_sync_is_needed() {
    struct Lazy<'d> {
        disk: &'d Fragile,
        skipped: usize,
        syncs: Cell<usize>,
    }
    impl Lazy<'_> {
        fn skips(&self) -> bool {
            self.syncs.replace(self.syncs.get() + 1) == self.skipped
        }
    }
    impl Disk for Lazy<'_> {
        fn create_folder(&self, path: &Path) -> io::Result<()> {
            self.disk.create_folder(path)
        }
        fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            self.disk.write(path, bytes)
        }
        fn sync_file(&self, path: &Path) -> io::Result<()> {
            if self.skips() {
                Ok(())
            } else {
                self.disk.sync_file(path)
            }
        }
        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            if self.skips() {
                Ok(())
            } else {
                self.disk.sync_folder(path)
            }
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.disk.rename(from, to)
        }
        fn remove_folder(&self, path: &Path) -> io::Result<()> {
            self.disk.remove_folder(path)
        }
        fn names(&self, path: &Path) -> io::Result<Vec<String>> {
            self.disk.names(path)
        }
    }
    let parent = Path::new(RUN);
    let mut start = Tree::default();
    start.folders.insert(0, Names::new());
    let disk = Fragile::new(start, 100);
    save(&Generations::on(&disk, parent, "run-"), 20).unwrap();
    let start = disk.seen.borrow().clone();
    // Each file, the folder of the draft, the folder of the run.
    for skipped in 0..FILES.len() + 2 {
        let broken = (0..100).any(|operations| {
            let disk = Fragile::new(start.clone(), operations);
            let lazy = Lazy {
                disk: &disk,
                skipped,
                syncs: Cell::new(0),
            };
            let _ = save(&Generations::on(lazy, parent, "run-"), 40);
            let lost = |tree: &Tree| {
                let (found, broken) = newest(tree);
                found.is_none() || !broken.is_empty()
            };
            disk.after_power_cut().iter().any(lost)
        });
        assert!(broken, "sync {skipped} could be left out");
    }
}

/// The computer's disk, until it is full.
struct Filling {
    left: Cell<usize>,
}

impl Filling {
    fn operation(&self) -> io::Result<()> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ())
            .ok_or(io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl Disk for &Filling {
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        RealDisk.create_folder(path)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(full) = self.operation() {
            RealDisk.write(path, &bytes[..bytes.len() / 2])?;
            return Err(full);
        }
        RealDisk.write(path, bytes)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        RealDisk.sync_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.operation()?;
        RealDisk.sync_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation()?;
        RealDisk.rename(from, to)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_folder(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        RealDisk.names(path)
    }
}

#[test]
fn a_full_disk_leaves_no_half_of_anything() {
    for operations in 0.. {
        let folder = tempfile::tempdir().unwrap();
        save(&Generations::new(folder.path(), "run-"), 20).unwrap();
        let disk = Filling {
            left: Cell::new(operations),
        };
        let generations = Generations::on(&disk, folder.path(), "run-");
        let saved = save(&generations, 40);
        let mut names = RealDisk.names(folder.path()).unwrap();
        names.sort();
        // Only where the name could not be synced is the new one there, too.
        let expected: &[&[&str]] = match saved {
            Ok(()) => &[&["run-00000040"]],
            Err(_) => &[&["run-00000020"], &["run-00000020", "run-00000040"]],
        };
        assert!(
            expected.iter().any(|names_of| names == *names_of),
            "{names:?}"
        );
        let number = generations.newest().unwrap().unwrap();
        for name in FILES {
            let found = fs::read(generations.path(number).join(name)).unwrap();
            assert_eq!(found, content(number, name));
        }
        match saved {
            Ok(()) => {
                assert!(operations >= 10);
                break;
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::StorageFull),
        }
        // And with room again it goes on.
        if number == 20 {
            save(&Generations::new(folder.path(), "run-"), 40).unwrap();
        }
    }
}
