//! Which slot wins, and what is refused.

mod common;

use common::{MockFlash, active_blob, blob, forge, install};
use embedded_storage::nor_flash::NorFlashErrorKind;
use tiny_ddpm_slots::{Action, Error, Flaw, GeometryError, Offer, Place, Region, Slots, Unfit};

type Flash = MockFlash<4, 512>;

const REGION: Region = Region {
    offset: 512,
    slot_len: 1024,
};

fn flash() -> Flash {
    Flash::new(2560)
}

fn slots(flash: &mut Flash) -> Slots<&mut Flash> {
    Slots::new(flash, REGION).unwrap()
}

#[test]
fn slots_take_turns_and_the_newest_wins() {
    let mut flash = flash();
    assert_eq!(slots(&mut flash).active(), None);
    for number in 1..=5_u32 {
        let blob = blob(number.into(), 100 * number as usize);
        let active = install(&mut slots(&mut flash), &blob).unwrap();
        assert_eq!(active.sequence, number);
        assert_eq!(u32::from(active.slot), (number - 1) % 2);
        assert_eq!(active.place.offset % 128, 0);
        assert!(!active.signed);
        assert_eq!(slots(&mut flash).active(), Some(active));
        assert_eq!(active_blob(&mut flash, REGION), Some(blob));
    }
}

#[test]
fn what_is_not_the_slots_is_not_touched() {
    let mut flash = Flash::used(3072, 9);
    let before = flash.bytes.clone();
    for number in 0..3 {
        install(&mut slots(&mut flash), &blob(number, 896)).unwrap();
    }
    assert_eq!(flash.bytes[..512], before[..512]);
    assert_eq!(flash.bytes[2560..], before[2560..]);
}

#[test]
fn a_slot_holds_what_it_says() {
    let mut flash = flash();
    let mut slots = slots(&mut flash);
    assert_eq!(slots.capacity(), 896);
    let largest = blob(1, 896);
    assert_eq!(install(&mut slots, &largest).unwrap().place.length, 896);
    let error = install(&mut slots, &blob(2, 897)).unwrap_err();
    let expected = Error::TooLarge {
        length: 897,
        capacity: 896,
    };
    assert_eq!(error, expected);
    assert_eq!(install(&mut slots, &[]), Err(Error::Empty));
    assert_eq!(install(&mut slots, &[7]).unwrap().place.length, 1);
}

#[test]
fn sequence_numbers_wrap() {
    for slot in [0, 1] {
        for (older, newer) in [
            (1, 2),
            (u32::MAX - 1, u32::MAX),
            (u32::MAX, 0),
            (u32::MAX - 5, 5),
            (0x7fff_ffff, 0x8000_0000),
        ] {
            let mut flash = flash();
            forge(&mut flash, REGION, slot, older, b"older");
            forge(&mut flash, REGION, 1 - slot, newer, b"newer");
            assert_eq!(active_blob(&mut flash, REGION).unwrap(), b"newer");
            let active = install(&mut slots(&mut flash), b"newest").unwrap();
            assert_eq!(active.sequence, newer.wrapping_add(1));
            assert_eq!(usize::from(active.slot), slot);
            assert_eq!(active_blob(&mut flash, REGION).unwrap(), b"newest");
        }
    }
}

/// Any one bit of the active slot goes bad: the other one takes over, and the
/// next update goes where the damage is.
#[test]
fn every_rotten_bit_brings_back_the_other_slot() {
    let mut flash = flash();
    let (old, new, next) = (blob(1, 300), blob(2, 200), blob(3, 90));
    install(&mut slots(&mut flash), &old).unwrap();
    let active = install(&mut slots(&mut flash), &new).unwrap();
    let start = active.place.offset as usize - 128;
    for bit in 0..8 * (128 + new.len()) {
        let mut flash = flash.clone();
        flash.bytes[start + bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            active_blob(&mut flash, REGION).as_ref(),
            Some(&old),
            "{bit}"
        );
        let updated = install(&mut slots(&mut flash), &next).unwrap();
        assert_eq!(updated.slot, active.slot);
        assert_eq!(active_blob(&mut flash, REGION).as_ref(), Some(&next));
    }
}

/// Between boot and update, too: what is erased is decided when it is erased.
#[test]
fn rot_after_the_last_look_does_not_cost_the_last_good_slot() {
    let mut flash = flash();
    install(&mut slots(&mut flash), b"older").unwrap();
    let newest = install(&mut slots(&mut flash), b"newer").unwrap();
    assert_eq!(slots(&mut flash).active(), Some(newest));
    flash.bytes[newest.place.offset as usize] ^= 1;
    slots(&mut flash).begin(&Offer::new(b"next")).unwrap();
    assert_eq!(active_blob(&mut flash, REGION).unwrap(), b"older");
}

#[test]
fn a_slot_that_cannot_be_read_is_like_an_empty_one() {
    let mut flash = flash();
    install(&mut slots(&mut flash), b"older").unwrap();
    let newest = install(&mut slots(&mut flash), b"newer").unwrap();
    for part in [0, 128] {
        let start = newest.place.offset as usize - 128 + part;
        flash.unreadable = Some(start..start + 4);
        let flaw = slots(&mut flash).inspect(newest.slot).unwrap_err();
        let expected = Flaw::Read {
            offset: start as u32,
            kind: NorFlashErrorKind::Other,
        };
        assert_eq!(flaw, expected);
        assert_eq!(slots(&mut flash).active().unwrap().slot, 1 - newest.slot);
    }
}

/// One failed read, or one wrong, while an update begins, and no other slot to
/// fall back to.
#[test]
fn good_weights_that_were_misread_are_not_erased() {
    for count in [1, 2] {
        let mut flash = flash();
        let kept = (0..count).map(|_| install(&mut slots(&mut flash), b"kept").unwrap());
        let kept = kept.last().unwrap();
        // The other slot has lost its record to an update that was broken off.
        slots(&mut flash).begin(&Offer::new(b"lost")).unwrap();
        let body = kept.place.offset as usize;
        for failing in [true, false] {
            let mut flash = flash.clone();
            match failing {
                true => flash.unreadable = Some(body..body + 1),
                false => flash.bytes[body] ^= 1,
            }
            slots(&mut flash).begin(&Offer::new(b"next")).unwrap();
            flash.unreadable = None;
            flash.bytes[body] = b'k';
            assert_eq!(slots(&mut flash).active(), Some(kept));

            // An update that was begun then is newer for all that.
            flash.unreadable = Some(body..body + 1);
            let next = install(&mut slots(&mut flash), b"next").unwrap();
            flash.unreadable = None;
            assert_eq!(next.sequence, kept.sequence + 1);
            assert_eq!(slots(&mut flash).active(), Some(next));
        }
    }
}

#[test]
fn nothing_is_erased_where_no_record_can_be_read() {
    let mut flash = flash();
    let kept = install(&mut slots(&mut flash), b"kept").unwrap();
    flash.unreadable = Some(0..flash.bytes.len());
    let error = slots(&mut flash).begin(&Offer::new(b"next")).unwrap_err();
    let expected = Error::Flash {
        action: Action::Read,
        offset: 512,
        kind: NorFlashErrorKind::Other,
    };
    assert_eq!(error, expected);
    flash.unreadable = None;
    assert_eq!(slots(&mut flash).active(), Some(kept));
}

#[test]
fn of_two_slots_that_are_not_valid_the_newer_is_kept() {
    for slot in [0, 1] {
        let mut flash = flash();
        forge(&mut flash, REGION, slot, 7, b"older");
        forge(&mut flash, REGION, 1 - slot, 8, b"newer");
        for slot in [0, 1] {
            flash.bytes[512 + 1024 * slot + 128] ^= 1;
        }
        let next = install(&mut slots(&mut flash), b"next").unwrap();
        assert_eq!((usize::from(next.slot), next.sequence), (slot, 9));
    }
}

/// Whoever sent it hears that it failed; it must not come to life afterwards.
#[test]
fn an_update_whose_record_reads_badly_has_no_effect() {
    let mut flash = flash();
    let kept = install(&mut slots(&mut flash), b"kept").unwrap();
    flash.unreadable = Some(1536..1540);
    let error = install(&mut slots(&mut flash), b"next").unwrap_err();
    assert_eq!(error, Error::Record);
    flash.unreadable = None;
    assert_eq!(slots(&mut flash).active(), Some(kept));
}

#[test]
fn flaws_are_named() {
    let mut flash = flash();
    assert_eq!(slots(&mut flash).inspect(0), Err(Flaw::NoRecord));
    forge(&mut flash, REGION, 0, 1, b"body");
    let good = flash.clone();
    let flaw = |at: usize| {
        let mut flash = good.clone();
        flash.bytes[512 + at] ^= 1;
        slots(&mut flash).inspect(0).unwrap_err()
    };
    assert_eq!(flaw(0), Flaw::NoRecord);
    assert_eq!(flaw(8), Flaw::Version { found: 0 });
    assert_eq!(flaw(12), Flaw::RecordCrc);
    assert!(matches!(flaw(128), Flaw::BodyCrc { .. }));
    // Sound records of impossible lengths: nothing is read where they lead.
    for length in [0, 897, 1 << 30] {
        let mut flash = good.clone();
        let mut record = flash.bytes[512..640].to_vec();
        record[16..20].copy_from_slice(&u32::to_le_bytes(length));
        let crc = tiny_ddpm_slots::crc32(&record[..124]);
        record[124..].copy_from_slice(&crc.to_le_bytes());
        flash.bytes[512..640].copy_from_slice(&record);
        let found = slots(&mut flash).inspect(0);
        assert_eq!(found, Err(Flaw::Length { length }));
    }
}

#[test]
fn what_was_announced_must_come() {
    let mut flash = flash();
    let kept = install(&mut slots(&mut flash), b"kept").unwrap();
    let mut slots = slots(&mut flash);
    assert_eq!(slots.write(b"x"), Err(Error::NotBegun));
    assert_eq!(slots.finish(|_| Ok(())), Err(Error::NotBegun));

    slots.begin(&Offer::new(b"four")).unwrap();
    assert_eq!(slots.progress(), Some((0, 4)));
    slots.write(b"fo").unwrap();
    assert_eq!(slots.progress(), Some((2, 4)));
    assert_eq!(slots.write(b"urs"), Err(Error::TooMuch { length: 4 }));
    assert_eq!(slots.write(b"ur"), Err(Error::NotBegun));

    slots.begin(&Offer::new(b"four")).unwrap();
    slots.write(b"fou").unwrap();
    let (written, length) = (3, 4);
    let error = slots.finish(|_| Ok(()));
    assert_eq!(error, Err(Error::TooLittle { written, length }));

    slots.begin(&Offer::new(b"four")).unwrap();
    slots.write(b"fuor").unwrap();
    let error = slots.finish(|_| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");

    slots.begin(&Offer::new(b"four")).unwrap();
    slots.write(b"four").unwrap();
    slots.abort();
    assert_eq!(slots.finish(|_| Ok(())), Err(Error::NotBegun));
    assert_eq!(slots.active(), Some(kept));
}

#[test]
fn a_check_sees_the_blob_in_place_and_may_refuse_it() {
    let mut flash = flash();
    let kept = install(&mut slots(&mut flash), b"kept").unwrap();
    let mut slots = slots(&mut flash);
    slots.begin(&Offer::new(b"four")).unwrap();
    slots.write(b"four").unwrap();
    let unfit = Unfit::Memory { needed: 9, room: 5 };
    let error = slots.finish(|place| {
        let expected = Place {
            offset: 512 + 1024 + 128,
            length: 4,
        };
        assert_eq!(place, expected);
        Err(unfit)
    });
    assert_eq!(error, Err(Error::Unfit(unfit)));
    assert_eq!(slots.active(), Some(kept));
}

#[test]
fn worn_flash_is_reported_and_what_was_active_stays() {
    // The second slot begins at 1536. Its first page, its second, its blob's
    // first and last block, and its record.
    for (action, bad, at) in [
        (Action::Erase, 1536, 1536),
        (Action::Erase, 2048, 1536),
        (Action::Write, 1664, 1664),
        (Action::Write, 1924, 1920),
        (Action::Write, 1660, 1536),
    ] {
        let mut flash = flash();
        let kept = install(&mut slots(&mut flash), b"kept").unwrap();
        flash.worn = Some((action, bad..bad + 4));
        let error = install(&mut slots(&mut flash), &blob(1, 300)).unwrap_err();
        let expected = Error::Flash {
            action,
            offset: at,
            kind: NorFlashErrorKind::Other,
        };
        assert_eq!(error, expected);
        assert_eq!(slots(&mut flash).active(), Some(kept));
    }
}

#[test]
fn impossible_slots_are_refused() {
    fn refused<const W: usize, const E: usize>(offset: u32, slot_len: u32) -> GeometryError {
        let region = Region { offset, slot_len };
        Slots::new(MockFlash::<W, E>::new(4096), region).unwrap_err()
    }
    let (offset, slot_len) = (512, 1024);
    let error = refused::<3, 513>(0, 1024);
    assert_eq!(error, GeometryError::WriteSize { size: 3 });
    let error = refused::<256, 512>(0, 1024);
    assert_eq!(error, GeometryError::WriteSize { size: 256 });
    let error = refused::<8, 500>(0, 1000);
    assert_eq!(error, GeometryError::EraseSize { size: 500 });
    let erase_size = 1024;
    let error = refused::<4, 1024>(offset, slot_len);
    assert_eq!(error, GeometryError::Offset { offset, erase_size });
    for slot_len in [0, 512, 1536] {
        let error = refused::<4, 1024>(0, slot_len);
        let expected = GeometryError::SlotLen {
            slot_len,
            erase_size,
        };
        assert_eq!(error, expected);
    }
    let error = refused::<4, 1024>(0, 3072);
    let (end, capacity) = (6144, 4096);
    assert_eq!(error, GeometryError::End { end, capacity });
    let error = refused::<4, 1024>(0xffff_fc00, 0x8000_0000);
    assert!(matches!(error, GeometryError::End { .. }));
    assert!(error.to_string().contains("4096"), "{error}");
}
