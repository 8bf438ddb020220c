//! Keys that say whose weights a device takes, and signatures made with them.
//!
//! Keys are PEM files and signatures 64 bytes of plain ed25519 over the blob's
//! bytes, so that `openssl` reads and writes them too.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use ed25519_compact::{KeyPair, PublicKey, Signature};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::model_file;
use crate::output::{PUBLIC, Staged, beside, check_file};

/// Make a pair of keys: one to sign blobs, one for firmware to check them
///
/// Whoever has the secret key decides what devices run. Keep it where others
/// cannot read it, and keep a copy: without it, devices take no new weights.
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  tiny-ddpm keygen --out weights.key        writes weights.key and weights.pub
  tiny-ddpm sign digits.tddpm --key weights.key
The files are PEM: `openssl genpkey -algorithm ed25519` makes such a key, too.")]
pub struct KeygenArgs {
    /// The secret key to write; the public one goes beside it, as .pub
    #[arg(long, value_name = "FILE", default_value = "weights.key")]
    pub out: PathBuf,
}

/// Sign a blob, for devices that take only signed ones
#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  tiny-ddpm sign digits.tddpm --key weights.key      writes digits.tddpm.sig
  tiny-ddpm send digits.tddpm --signature digits.tddpm.sig --port /dev/ttyACM0
  openssl pkeyutl -verify -pubin -inkey weights.pub -rawin -in digits.tddpm -sigfile digits.tddpm.sig")]
pub struct SignArgs {
    /// The blob
    #[arg(value_name = "BLOB")]
    pub blob: PathBuf,
    /// The secret key, from `tiny-ddpm keygen`
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// The signature to write; by default the blob's name and .sig
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Makes a pair of keys.
///
/// # Errors
/// Where one of the files exists or cannot be written.
pub fn keygen(args: &KeygenArgs) -> Result<()> {
    let secret = &args.out;
    let public = secret.with_extension("pub");
    ensure!(
        *secret != public,
        "{} is the name of the public key: name the secret one otherwise, like weights.key",
        public.display()
    );
    for path in [secret, &public] {
        // Broken links, too.
        ensure!(
            fs::symlink_metadata(path).is_err(),
            "{} exists: a key is never overwritten; name another with --out, or move it away",
            path.display()
        );
        check_file(path)?;
    }
    let pair = KeyPair::generate();
    // Both are on disk before either has its name.
    let secret_file = write_new(secret, &pair.sk.to_pem(), 0o600)?;
    let public_file = write_new(&public, &pair.pk.to_pem(), PUBLIC)?;
    publish(secret_file, secret)?;
    if let Err(error) = publish(public_file, &public) {
        // Half a pair is of no use, and in the way of the next attempt.
        let _ = fs::remove_file(secret);
        return Err(error);
    }
    println!(
        "{}: the secret key, for `tiny-ddpm sign` and `tiny-ddpm send`; show it to nobody\n\
         {}: the public key, for firmware; its fingerprint is {}",
        secret.display(),
        public.display(),
        fingerprint(&pair.pk)
    );
    Ok(())
}

/// Signs a blob.
///
/// # Errors
/// Where blob or key cannot be read or are not valid, or the signature cannot
/// be written.
pub fn sign(args: &SignArgs) -> Result<()> {
    let blob = model_file::read(&args.blob)?;
    model_file::load(&args.blob, &blob)?;
    let out = args.out.clone().unwrap_or_else(|| {
        let mut name = args.blob.clone().into_os_string();
        name.push(".sig");
        name.into()
    });
    check_file(&out)?;
    let pair = read_key(&args.key)?;
    let signature = sign_blob(&pair, &blob)?;
    let mut staged = Staged::default();
    staged.add(&out, &signature)?;
    staged.publish()?;
    println!(
        "{}: signature of {} by the key {}",
        out.display(),
        args.blob.display(),
        fingerprint(&pair.pk)
    );
    Ok(())
}

/// The signature of a blob, checked.
///
/// # Errors
/// Where the key's halves do not belong together.
pub fn sign_blob(pair: &KeyPair, blob: &[u8]) -> Result<[u8; 64]> {
    let signature = pair.sk.sign(blob, None);
    pair.pk
        .verify(blob, &signature)
        .map_err(|_| anyhow!("the key's secret and public halves do not belong together"))?;
    Ok(*signature)
}

/// More bytes than any key's file has.
const MAX_KEY: u64 = 64 << 10;

/// A secret key from its file. Warns where others can read it.
///
/// # Errors
/// Where it cannot be read or is none.
pub fn read_key(path: &Path) -> Result<KeyPair> {
    let name = path.display();
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_KEY).read_to_end(&mut bytes));
    read.with_context(|| format!("cannot read the key {name}"))?;
    let text = str::from_utf8(&bytes).unwrap_or_default();
    let pair = KeyPair::from_pem(text)
        .map_err(|_| anyhow!("{name} is no secret key: {}", instead_of_a_key(&bytes)))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            eprintln!("warning: others can read the secret key: chmod 600 {name}");
        }
    }
    Ok(pair)
}

/// What a file is that should be a secret key, and what to do.
fn instead_of_a_key(bytes: &[u8]) -> &'static str {
    let text = str::from_utf8(bytes).unwrap_or_default();
    match bytes {
        [] => "it is empty; `tiny-ddpm keygen` makes a key",
        // Damaged or for another version, too.
        _ if bytes.starts_with(b"tinyddpm") => {
            "it is a blob; name the file that `tiny-ddpm keygen` wrote, like weights.key"
        }
        _ if PublicKey::from_pem(text).is_ok() => {
            "it is a public key; name its secret half, like weights.key"
        }
        _ if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY") => {
            "it is encrypted; decrypt it with `openssl pkey -in FILE -out weights.key`"
        }
        _ if text.contains("-----BEGIN ") => {
            "it is a PEM file with something else than an ed25519 key; `tiny-ddpm keygen` makes one"
        }
        _ if bytes.len() == Signature::BYTES => {
            "it has the length of a signature; with `send` give that by --signature"
        }
        _ => "`tiny-ddpm keygen` makes one",
    }
}

/// A signature from the file that `sign` wrote.
///
/// # Errors
/// Where it cannot be read or has another length.
pub fn read_signature(path: &Path) -> Result<[u8; 64]> {
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("cannot read the signature {name}"))?;
    let signature = Signature::from_slice(&bytes).map_err(|_| {
        anyhow!(
            "{name} is no signature: it has {} bytes instead of 64; `tiny-ddpm sign` writes one",
            bytes.len()
        )
    })?;
    Ok(*signature)
}

/// What people compare: the first 8 bytes of the public key's SHA-256.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    let digest = Sha256::digest(&key[..]);
    (digest.iter().take(8))
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A file beside its place, on disk, without its name.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<NamedTempFile> {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    beside(path, mode, format!("{text}{end}").as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))
}

fn publish(file: NamedTempFile, path: &Path) -> Result<()> {
    file.persist_noclobber(path)
        .map_err(|error| error.error)
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(())
}
