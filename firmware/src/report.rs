//! What is logged.
//!
//! Lines that begin with `@` are for programs: a word that names the line,
//! then `name=value` words. They are the interface to `cargo xtask`.

use crate::board::FLASH;
use crate::{draw, stack};
use tiny_ddpm::picture::{picture_hash, state_hash};
use tiny_ddpm::{Data, Step, Topology};

unsafe extern "C" {
    static __sidata: u32;
    static __sdata: u32;
    static __edata: u32;
}

/// A finished picture or point.
pub struct Picture<'a> {
    /// Its number under the seed.
    pub number: u64,
    /// What it should show.
    pub class: Option<u8>,
    /// x_0.
    pub x: &'a [f32],
    /// Its grey values.
    pub pixels: &'a [u8],
    /// What it took, in the counter's unit.
    pub ticks: u64,
}

/// One line a step.
pub fn step(picture: u64, step: Step, ticks: u64) {
    defmt::println!(
        "@step picture={=u64} index={=u16} of={=u16} timestep={=u16} ticks={=u64}",
        picture,
        step.index,
        step.of,
        step.timestep,
        ticks
    );
}

/// The hash first, then the pixels for programs and the drawing for people, or
/// the values of a point: their bits.
pub fn picture(picture: &Picture, topology: &Topology) {
    let class = picture.class.map_or(-1, i16::from);
    defmt::println!(
        "@picture number={=u64} class={=i16} hash={=u32:08x} state={=u32:08x} ticks={=u64}",
        picture.number,
        class,
        picture_hash(picture.pixels),
        state_hash(picture.x),
        picture.ticks
    );
    let side = match topology.data() {
        Data::Picture { side } => usize::from(side).max(1),
        Data::Point { .. } => {
            for value in picture.x {
                defmt::println!(
                    "@value picture={=u64} bits={=u32:08x}",
                    picture.number,
                    value.to_bits()
                );
            }
            return;
        }
    };
    for row in picture.pixels.chunks(side) {
        defmt::println!(
            "@row picture={=u64} pixels={=[u8]:02x}",
            picture.number,
            row
        );
    }
    for rows in picture.pixels.chunks(2 * side) {
        let (upper, lower) = rows.split_at(side.min(rows.len()));
        defmt::println!("  {=str}", draw::line(upper, lower));
    }
}

/// Bytes of flash, buffers and stack.
pub fn memory(buffers: usize, blob: usize) {
    let flash = {
        let data = (&raw const __edata as usize) - (&raw const __sdata as usize);
        &raw const __sidata as usize + data - FLASH
    };
    defmt::println!(
        "@memory flash={=usize} blob={=usize} buffers={=usize} stack_peak={=usize} stack_room={=usize}",
        flash,
        blob,
        buffers,
        stack::peak(),
        stack::room()
    );
}
