//! The stack has a stated size and needs less; one that is too small is
//! noticed.

use super::{FIRMWARE, NANO_FIRMWARE, assert_fails, nano, run, short};
use std::slice::from_ref;
use tiny_ddpm::{Method, Model};
use xtask::emulator::Memory;
use xtask::firmware::Firmware;
use xtask::request::Request;

/// Bytes of the stack as `firmware/memory` states them, and the part of them
/// that no picture has ever touched.
const STM32F405: (u64, u64) = (16 << 10, 8 << 10);
const MICROBIT: (u64, u64) = (6 << 10, 1536);

fn nano_request(method: Method, guidance: f32) -> Request {
    Request {
        method,
        steps: 2,
        guidance,
        classes: vec![1],
        ..Request::recommended(&Model::load(&nano()).unwrap())
    }
}

/// The most that any of the requests takes.
fn deepest(firmware: &Firmware, requests: &[Request]) -> Memory {
    let memories = requests.iter().map(|request| {
        let run = run(firmware, request);
        assert!(run.success, "{:?}", run.log);
        run.memory.expect("no account of the memory")
    });
    memories.max_by_key(|memory| memory.stack_peak).unwrap()
}

fn assert_reserve(memory: Memory, (size, reserve): (u64, u64)) {
    println!("stack: {} of {size} bytes", memory.stack_peak);
    assert_eq!(memory.stack_room, size);
    assert!(memory.stack_peak + reserve <= size, "{memory:?}");
}

/// With whatever is too little, from nearly enough to nearly nothing, there is
/// no picture but a message.
fn assert_noticed(firmware: &Firmware, request: &Request, peak: u64) {
    for share in [9, 7, 5, 3, 1] {
        let bytes = (peak * share / 10 / 8 * 8) as u32;
        let run = run(&firmware.with_stack(bytes).unwrap(), request);
        assert!(run.pictures.is_empty(), "{bytes} bytes: {:?}", run.log);
        assert_fails(&run, "stack overflow");
    }
}

#[test]
fn the_stm32f405_keeps_half_of_its_stack() {
    let requests = Method::NAMES.map(|name| Request {
        method: Method::from_name(name, 0.5).unwrap(),
        guidance: 0.5,
        ..short(4)
    });
    assert_reserve(deepest(&FIRMWARE, &requests), STM32F405);
}

#[test]
fn the_micro_bit_keeps_a_quarter_of_its_stack() {
    let ddim = Method::Ddim { eta: 0.5 };
    let requests = [0.0, 0.5].map(|guidance| nano_request(ddim, guidance));
    assert_reserve(deepest(&NANO_FIRMWARE, &requests), MICROBIT);
}

#[test]
fn a_stack_that_is_just_enough_is_enough() {
    let request = short(4);
    let peak = deepest(&FIRMWARE, from_ref(&request)).stack_peak;
    let run = run(
        &FIRMWARE
            .with_stack(peak.next_multiple_of(8) as u32)
            .unwrap(),
        &request,
    );
    assert!(run.success, "{:?}", run.log);
}

#[test]
fn too_small_a_stack_is_noticed_on_an_stm32f405() {
    let request = short(4);
    let peak = deepest(&FIRMWARE, from_ref(&request)).stack_peak;
    assert_noticed(&FIRMWARE, &request, peak);
}

#[test]
fn too_small_a_stack_is_noticed_on_a_micro_bit() {
    let request = nano_request(Method::Ddim { eta: 0.0 }, 0.0);
    let peak = deepest(&NANO_FIRMWARE, from_ref(&request)).stack_peak;
    assert_noticed(&NANO_FIRMWARE, &request, peak);
}
