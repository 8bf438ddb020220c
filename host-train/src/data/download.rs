//! Data sets from their public mirrors, checked and kept in a cache folder.
//!
//! A file is written under another name, checked and only then renamed: a file
//! with its final name is whole.

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use zip::ZipArchive;

use super::{Known, Origin};

/// No file of a data set is larger; a mirror that sends without end stops here.
const MAX_BYTES: u64 = 64 << 20;
/// No archive of data sets is larger.
const MAX_ARCHIVE_BYTES: u64 = 1 << 30;
/// Where archives are kept in the cache: several data sets can be in one.
const ARCHIVES: &str = "archives";

/// The folder in `cache` with all files of a data set, downloading those that
/// are missing.
///
/// # Errors
/// Where a file can be had from no mirror, or cannot be written.
pub fn fetch(known: &Known, cache: &Path) -> Result<PathBuf> {
    let folder = made(cache.join(known.name))?;
    let names = known.file_names().map(|name| name + ".gz");
    let missing = |name: &str| !folder.join(name).is_file();
    match known.origin {
        Origin::Files { mirrors, sha256 } => {
            for (name, sha256) in names.iter().zip(sha256).filter(|(name, _)| missing(name)) {
                let urls: Vec<String> = mirrors.iter().map(|m| format!("{m}{name}")).collect();
                download(&urls, sha256, MAX_BYTES, &folder.join(name))?;
            }
        }
        Origin::Archive {
            url,
            sha256,
            folder: within,
        } => {
            let missing: Vec<&String> = names.iter().filter(|name| missing(name)).collect();
            if !missing.is_empty() {
                // Archives have names like gzip.zip, which tell nothing.
                let archive = made(cache.join(ARCHIVES))?.join(format!("{}.zip", &sha256[..16]));
                if !archive.is_file() {
                    download(&[url.to_owned()], sha256, MAX_ARCHIVE_BYTES, &archive)?;
                }
                extract(&archive, within, &missing, &folder)?;
            }
        }
    }
    Ok(folder)
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    Ok(folder)
}

/// Brings a file from the first address that has it with this checksum.
fn download(urls: &[String], sha256: &str, most: u64, path: &Path) -> Result<()> {
    let mut failures = Vec::new();
    for url in urls {
        match download_from(url, sha256, most, path) {
            Ok(()) => return Ok(()),
            Err(error) => failures.push(format!("  {url}: {error:#}")),
        }
    }
    bail!(
        "cannot download {}:\n{}\nIf this machine has no web access, fetch the files elsewhere and give their folder with --data DIR",
        urls[0].rsplit('/').next().unwrap_or(&urls[0]),
        failures.join("\n")
    )
}

fn download_from(url: &str, sha256: &str, most: u64, path: &Path) -> Result<()> {
    eprintln!("downloading {url}");
    let mut response = ureq::get(url).call()?;
    let length = response.body().content_length();
    let bar = match length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::new_spinner(),
    };
    bar.set_style(ProgressStyle::with_template(
        "{bar:30} {bytes} of {total_bytes}, {eta} left",
    )?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let body = bar.wrap_read(response.body_mut().as_reader());
    let written = write_checked(body.take(most), sha256, path);
    bar.finish_and_clear();
    written
}

/// Writes a file in pieces, and gives it its name if its checksum is right.
fn write_checked(mut source: impl Read, sha256: &str, path: &Path) -> Result<()> {
    write_atomically(path, |file| {
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut piece = vec![0; 1 << 16];
        loop {
            let read = source.read(&mut piece)?;
            if read == 0 {
                break;
            }
            hash.update(&piece[..read]);
            file.write_all(&piece[..read])
                .with_context(|| cannot_write(path))?;
            length += read;
        }
        let found = super::dataset::hex(&hash.finalize());
        ensure!(
            found == sha256,
            "the {length} bytes that came have SHA-256 {found}, not {sha256}: cut short or changed"
        );
        Ok(())
    })
}

/// Takes files out of a folder in an archive.
fn extract(archive: &Path, within: &str, names: &[&String], folder: &Path) -> Result<()> {
    let file = std::fs::File::open(archive)
        .with_context(|| format!("cannot read {}", archive.display()))?;
    let mut opened = open_archive(file)
        .with_context(|| format!("{} is damaged; remove it", archive.display()))?;
    for name in names {
        let path = folder.join(name);
        let failed = || format!("cannot take {name} out of {}", archive.display());
        // Its checksum in the archive is compared at its end.
        let mut member = opened
            .by_name(&format!("{within}{name}"))
            .with_context(failed)?;
        write_atomically(&path, |file| {
            std::io::copy(&mut member, file).with_context(failed)?;
            Ok(())
        })?;
    }
    Ok(())
}

fn open_archive<R: Read + Seek>(reader: R) -> Result<ZipArchive<R>> {
    ZipArchive::new(reader).map_err(|error| anyhow!("{error}"))
}

/// Writes a file under another name and, if that succeeds, gives it its own.
fn write_atomically(
    path: &Path,
    write: impl FnOnce(&mut NamedTempFile) -> Result<()>,
) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder).map_err(|error| {
        // Its text has the other name.
        anyhow!("{}: {}", cannot_write(path), error.kind())
    })?;
    write(&mut file)?;
    let synced = file.as_file().sync_all();
    synced
        .and_then(|()| file.persist(path).map_err(|error| error.error))
        .with_context(|| cannot_write(path))?;
    Ok(())
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

/// Where downloads go unless told otherwise: `tiny-ddpm` in the user's cache
/// folder (XDG).
///
/// # Errors
/// Where the environment names no home.
pub fn default_cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => match std::env::home_dir() {
            Some(home) => home.join(".cache"),
            None => bail!("no home folder is known; say where downloads go with --cache DIR"),
        },
    };
    Ok(base.join("tiny-ddpm"))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::net::TcpListener;

    use zip::write::SimpleFileOptions;
    use zip::{CompressionMethod, ZipWriter};

    use super::*;

    /// Answers each request on a port of this machine with the same file; gives
    /// its address.
    fn served(body: Vec<u8>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    request.push(byte[0]);
                }
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes()).unwrap();
                stream.write_all(&body).unwrap();
            }
        });
        format!("http://{address}/")
    }

    fn leaked(text: String) -> &'static str {
        text.leak()
    }

    fn files_in(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_downloaded_and_checked() {
        let cache = tempfile::tempdir().unwrap();
        let mirror = leaked(served(vec![7; 200_000]));
        let right = leaked(super::super::dataset::hex(&Sha256::digest(vec![
            7;
            200_000
        ])));
        let mut known = Known::named("mnist").unwrap();
        known.origin = Origin::Files {
            // Nothing listens on port 1: the second mirror has it.
            mirrors: vec!["http://127.0.0.1:1/", mirror].leak(),
            sha256: [right; 4],
        };
        let folder = fetch(&known, cache.path()).unwrap();
        for name in known.file_names() {
            let bytes = std::fs::read(folder.join(name + ".gz")).unwrap();
            assert_eq!(bytes, [7; 200_000]);
        }
        // One that is changed on the way is not kept.
        std::fs::remove_file(folder.join("t10k-labels-idx1-ubyte.gz")).unwrap();
        let wrong = leaked("0".repeat(64));
        known.origin = Origin::Files {
            mirrors: vec![mirror].leak(),
            sha256: [wrong; 4],
        };
        let error = fetch(&known, cache.path()).unwrap_err().to_string();
        for words in ["200000 bytes", right, wrong, mirror, "--data DIR"] {
            assert!(error.contains(words), "{words}: {error}");
        }
        assert_eq!(files_in(&folder).len(), 3);
    }

    #[test]
    fn files_are_taken_out_of_an_archive_that_is_kept() {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, method) in [
            ("emnist-letters", CompressionMethod::Deflated),
            ("emnist-digits", CompressionMethod::Stored),
        ] {
            for file in Known::named(name).unwrap().file_names() {
                let options = SimpleFileOptions::default().compression_method(method);
                writer
                    .start_file(format!("gzip/{file}.gz"), options)
                    .unwrap();
                writer.write_all(file.repeat(1000).as_bytes()).unwrap();
            }
        }
        let archive = writer.finish().unwrap().into_inner();
        let sha256 = leaked(super::super::dataset::hex(&Sha256::digest(&archive)));
        let cache = tempfile::tempdir().unwrap();
        let from = |name: &str, url: &'static str| {
            let mut known = Known::named(name).unwrap();
            known.origin = Origin::Archive {
                url,
                sha256,
                folder: "gzip/",
            };
            let folder = fetch(&known, cache.path())?;
            for file in known.file_names() {
                let bytes = std::fs::read(folder.join(format!("{file}.gz"))).unwrap();
                assert_eq!(bytes, file.repeat(1000).into_bytes());
            }
            assert_eq!(files_in(&folder).len(), 4);
            anyhow::Ok(())
        };
        from("emnist-letters", leaked(served(archive) + "gzip.zip")).unwrap();
        // The archive is not needed a second time, nor the web.
        from("emnist-digits", "http://127.0.0.1:1/").unwrap();
        let error = format!(
            "{:#}",
            from("emnist-balanced", "http://127.0.0.1:1/").unwrap_err()
        );
        assert!(
            error.contains("cannot take emnist-balanced-train-images-idx3-ubyte.gz"),
            "{error}"
        );
    }

    #[test]
    fn what_is_cached_is_not_fetched_again() {
        let cache = tempfile::tempdir().unwrap();
        let known = Known::named("mnist").unwrap();
        let folder = cache.path().join("mnist");
        std::fs::create_dir(&folder).unwrap();
        for name in known.file_names() {
            std::fs::write(folder.join(name + ".gz"), "").unwrap();
        }
        assert_eq!(fetch(&known, cache.path()).unwrap(), folder);
    }

    #[test]
    fn an_unreachable_mirror_says_what_to_do_and_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        for name in ["mnist", "emnist-letters"] {
            let mut known = Known::named(name).unwrap();
            match &mut known.origin {
                // Nothing listens on port 1.
                Origin::Files { mirrors, .. } => *mirrors = &["http://127.0.0.1:1/"],
                Origin::Archive { url, .. } => *url = "http://127.0.0.1:1/gzip.zip",
            }
            let error = fetch(&known, cache.path()).unwrap_err().to_string();
            assert!(
                error.contains("--data DIR") && error.contains("127.0.0.1"),
                "{error}"
            );
            assert!(files_in(&cache.path().join(name)).is_empty());
        }
        assert!(files_in(&cache.path().join(ARCHIVES)).is_empty());
    }
}
