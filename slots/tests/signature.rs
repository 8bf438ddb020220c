//! With a key, only what it signed becomes active.

mod common;

use common::{MockFlash, Random, blob, install};
use ed25519_compact::{KeyPair, Seed};
use tiny_ddpm_slots::{Active, Error, Flaw, Key, Offer, Region, Slots};

type Flash = MockFlash<4, 512>;

const REGION: Region = Region {
    offset: 0,
    slot_len: 1024,
};

fn pair(number: u8) -> KeyPair {
    KeyPair::from_seed(Seed::new([number; 32]))
}

fn key(number: u8) -> Key {
    Key::new(*pair(number).pk).unwrap()
}

fn slots(flash: &mut Flash) -> Slots<&mut Flash> {
    Slots::new(flash, REGION).unwrap().with_key(key(1))
}

fn update(
    slots: &mut Slots<&mut Flash>,
    blob: &[u8],
    signature: Option<[u8; 64]>,
) -> Result<Active, Error> {
    let offer = Offer {
        signature,
        ..Offer::new(blob)
    };
    slots.begin(&offer)?;
    slots.write(blob)?;
    slots.finish(|_| Ok(()))
}

fn sign(number: u8, blob: &[u8]) -> Option<[u8; 64]> {
    Some(*pair(number).sk.sign(blob, None))
}

#[test]
fn only_the_key_s_own_signature_will_do() {
    let mut flash = Flash::new(2048);
    let mut slots = slots(&mut flash);
    assert!(slots.wants_signature());
    let (kept, new) = (blob(1, 300), blob(2, 400));
    let active = update(&mut slots, &kept, sign(1, &kept)).unwrap();
    assert!(active.signed);
    assert_eq!(slots.active(), Some(active));

    let missing = update(&mut slots, &new, None);
    assert_eq!(missing, Err(Error::SignatureMissing));
    for wrong in [
        sign(2, &new),
        sign(1, &kept),
        Some([0; 64]),
        Some([255; 64]),
    ] {
        let error = update(&mut slots, &new, wrong);
        assert_eq!(error, Err(Error::SignatureWrong));
        assert_eq!(slots.active(), Some(active));
    }
    let mut random = Random(5);
    for _ in 0..40 {
        let mut wrong = sign(1, &new).unwrap();
        wrong[random.next() as usize % 64] ^= 1 << (random.next() % 8);
        let error = update(&mut slots, &new, Some(wrong));
        assert_eq!(error, Err(Error::SignatureWrong));
    }
    assert_eq!(slots.active(), Some(active));
    assert_eq!(update(&mut slots, &new, sign(1, &new)).unwrap().sequence, 2);
}

#[test]
fn what_is_in_flash_is_checked_too() {
    let mut flash = Flash::new(2048);
    // Put there by firmware that had no key.
    install(&mut Slots::new(&mut flash, REGION).unwrap(), b"unsigned").unwrap();
    assert_eq!(slots(&mut flash).active(), None);
    assert_eq!(slots(&mut flash).inspect(0), Err(Flaw::SignatureMissing));
    let active = update(&mut slots(&mut flash), b"signed", sign(1, b"signed")).unwrap();
    assert_eq!(slots(&mut flash).active(), Some(active));
    // Later firmware has another key.
    let mut other = Slots::new(&mut flash, REGION).unwrap().with_key(key(2));
    assert_eq!(other.active(), None);
    assert_eq!(other.inspect(active.slot), Err(Flaw::SignatureWrong));
    // Without one, a signature is kept and not looked at.
    let mut any = Slots::new(&mut flash, REGION).unwrap();
    assert_eq!(any.active(), Some(active));
}

#[test]
fn who_can_repair_checksums_still_cannot_sign() {
    let mut flash = Flash::new(2048);
    let active = update(&mut slots(&mut flash), b"signed", sign(1, b"signed")).unwrap();
    let start = active.place.offset as usize - 128;
    let body = active.place.offset as usize;
    flash.bytes[body] ^= 1;
    let crc = tiny_ddpm_slots::crc32(&flash.bytes[body..body + 6]);
    flash.bytes[start + 20..start + 24].copy_from_slice(&crc.to_le_bytes());
    let crc = tiny_ddpm_slots::crc32(&flash.bytes[start..start + 124]);
    flash.bytes[start + 124..start + 128].copy_from_slice(&crc.to_le_bytes());
    assert!(Slots::new(&mut flash, REGION).unwrap().active().is_some());
    assert_eq!(slots(&mut flash).inspect(0), Err(Flaw::SignatureWrong));
    assert_eq!(slots(&mut flash).active(), None);
}

#[test]
fn a_key_under_which_anything_can_be_signed_is_none() {
    // The neutral element, and a point of small order.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    for bytes in [neutral, [0; 32], [255; 32]] {
        assert!(Key::new(bytes).is_err());
    }
}
