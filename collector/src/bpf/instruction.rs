//! A small assembler, so that programs for the kernel read like programs.
//!
//! Source: `Documentation/bpf/standardization/instruction-set.rst`. One instruction is 64 bits:
//! operation, destination, source, 16-bit offset, 32-bit constant.

use std::os::fd::{AsRawFd, BorrowedFd};

/// R0 holds results, R1 to R5 arguments, R6 to R9 survive calls, R10 is the end of the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R8,
    R9,
    R10,
}

/// How much a load or store moves; the value is its code in the instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Width {
    Bytes4 = 0x00,
    Bytes8 = 0x18,
}

/// Functions of the kernel that programs may call, by number (`include/uapi/linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Helper {
    MapLookup = 1,
    MapUpdate = 2,
    MapDelete = 3,
    Now = 5,
    CurrentCpu = 8,
    CurrentPidTgid = 14,
    CurrentTask = 35,
    ProbeReadUser = 112,
    ProbeReadKernel = 113,
    RingOutput = 130,
}

/// A place in a program that can be jumped to.
#[derive(Clone, Copy, Debug)]
#[must_use = "a label that is not placed cannot be jumped to"]
pub(super) struct Label(usize);

struct Jump {
    from: usize,
    to: Label,
}

/// A program being written.
#[derive(Default)]
pub(super) struct Assembler {
    code: Vec<u64>,
    /// Where each label was placed.
    labels: Vec<Option<usize>>,
    jumps: Vec<Jump>,
}

const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_CONSTANT: u8 = 0x07;
const SUBTRACT: u8 = 0x1f;
const AND_CONSTANT: u8 = 0x57;
const SHIFT_LEFT_CONSTANT: u8 = 0x67;
const LOAD: u8 = 0x61;
const STORE: u8 = 0x63;
const STORE_CONSTANT: u8 = 0x62;
const ATOMIC: u8 = 0xc3;
const LOAD_64_BIT_CONSTANT: u8 = 0x18;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL: u8 = 0x15;
const JUMP_IF_ANY_SET: u8 = 0x45;
const JUMP_IF_AT_LEAST: u8 = 0x35;
const JUMP_IF_AT_MOST_SIGNED: u8 = 0xd5;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;

/// In the source field of a 64-bit constant: the constant is the descriptor of a map.
const MAP_DESCRIPTOR: u8 = 1;

impl Assembler {
    pub(super) fn mov(&mut self, to: Register, from: Register) {
        self.push(MOVE, to as u8, from as u8, 0, 0);
    }

    /// Sets all 64 bits; the sign is extended.
    pub(super) fn mov_constant(&mut self, to: Register, value: i32) {
        self.push(MOVE_CONSTANT, to as u8, 0, 0, value);
    }

    pub(super) fn add(&mut self, to: Register, what: Register) {
        self.push(ADD, to as u8, what as u8, 0, 0);
    }

    pub(super) fn add_constant(&mut self, to: Register, value: i32) {
        self.push(ADD_CONSTANT, to as u8, 0, 0, value);
    }

    pub(super) fn subtract(&mut self, from: Register, what: Register) {
        self.push(SUBTRACT, from as u8, what as u8, 0, 0);
    }

    /// The constant's sign is extended to 64 bits first.
    pub(super) fn and_constant(&mut self, to: Register, value: i32) {
        self.push(AND_CONSTANT, to as u8, 0, 0, value);
    }

    pub(super) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(LOAD | width as u8, to as u8, from as u8, offset, 0);
    }

    pub(super) fn store(&mut self, width: Width, to: Register, offset: i16, what: Register) {
        self.push(STORE | width as u8, to as u8, what as u8, offset, 0);
    }

    pub(super) fn store_constant(&mut self, width: Width, to: Register, offset: i16, value: i32) {
        self.push(STORE_CONSTANT | width as u8, to as u8, 0, offset, value);
    }

    /// Adds to memory in one step that no other program can interrupt.
    pub(super) fn atomic_add(&mut self, width: Width, to: Register, offset: i16, what: Register) {
        self.push(ATOMIC | width as u8, to as u8, what as u8, offset, 0);
    }

    pub(super) fn load_map(&mut self, to: Register, map: BorrowedFd<'_>) {
        self.push(LOAD_64_BIT_CONSTANT, to as u8, MAP_DESCRIPTOR, 0, map.as_raw_fd());
        self.push(0, 0, 0, 0, 0);
    }

    /// R1 to R5 are lost, the result is in R0.
    pub(super) fn call(&mut self, helper: Helper) {
        self.push(CALL, 0, 0, 0, helper as i32);
    }

    pub(super) fn exit(&mut self) {
        self.push(EXIT, 0, 0, 0, 0);
    }

    /// A label to jump to, to be placed later.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Lets jumps to the label arrive here.
    pub(super) fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.push_jump(JUMP, Register::R0, 0, to);
    }

    pub(super) fn jump_if_equal(&mut self, what: Register, value: i32, to: Label) {
        self.push_jump(JUMP_IF_EQUAL, what, value, to);
    }

    /// Jumps if `what & mask` is not zero.
    pub(super) fn jump_if_any_set(&mut self, what: Register, mask: i32, to: Label) {
        self.push_jump(JUMP_IF_ANY_SET, what, mask, to);
    }

    pub(super) fn shift_left(&mut self, what: Register, bits: i32) {
        self.push(SHIFT_LEFT_CONSTANT, what as u8, 0, 0, bits);
    }

    /// Compares without sign: a number that would be negative is large.
    pub(super) fn jump_if_at_least(&mut self, what: Register, value: i32, to: Label) {
        self.push_jump(JUMP_IF_AT_LEAST, what, value, to);
    }

    pub(super) fn jump_if_at_most_signed(&mut self, what: Register, value: i32, to: Label) {
        self.push_jump(JUMP_IF_AT_MOST_SIGNED, what, value, to);
    }

    /// The finished instructions.
    ///
    /// # Panics
    ///
    /// If a label was not placed or is too far away: an error of the program's author.
    pub(super) fn finish(mut self) -> Vec<u64> {
        for Jump { from, to } in self.jumps {
            let target = self.labels[to.0].expect("every label is placed");
            let distance = target.checked_signed_diff(from + 1).and_then(|d| i16::try_from(d).ok());
            let distance = distance.expect("programs are shorter than 32767 instructions");
            self.code[from] |= u64::from(distance.cast_unsigned()) << 16;
        }
        self.code
    }

    fn push_jump(&mut self, operation: u8, what: Register, value: i32, to: Label) {
        self.jumps.push(Jump { from: self.code.len(), to });
        self.push(operation, what as u8, 0, 0, value);
    }

    fn push(&mut self, operation: u8, to: u8, from: u8, offset: i16, constant: i32) {
        self.code.push(
            u64::from(operation)
                | u64::from(to) << 8
                | u64::from(from) << 12
                | u64::from(offset.cast_unsigned()) << 16
                | u64::from(constant.cast_unsigned()) << 32,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Register::{R0, R1, R2, R6, R10};
    use super::{Assembler, Helper, Width};
    use std::os::fd::{AsFd, AsRawFd};

    fn assembled(write: impl FnOnce(&mut Assembler)) -> Vec<u64> {
        let mut program = Assembler::default();
        write(&mut program);
        program.finish()
    }

    #[test]
    fn every_operation_has_the_encoding_of_the_instruction_set() {
        let code = assembled(|p| {
            p.mov(R6, R1);
            p.mov_constant(R0, -1);
            p.add(R1, R2);
            p.add_constant(R2, -8);
            p.subtract(R1, R2);
            p.and_constant(R1, 63);
            p.shift_left(R1, 3);
            p.load(Width::Bytes8, R6, R1, 8);
            p.load(Width::Bytes4, R6, R1, 8);
            p.store(Width::Bytes8, R10, -8, R6);
            p.store_constant(Width::Bytes4, R10, -16, 7);
            p.atomic_add(Width::Bytes8, R0, 0, R1);
            p.call(Helper::RingOutput);
            p.exit();
        });
        let expected = [
            0x0000_0000_0000_16bf,
            0xffff_ffff_0000_00b7,
            0x0000_0000_0000_210f,
            0xffff_fff8_0000_0207,
            0x0000_0000_0000_211f,
            0x0000_003f_0000_0157,
            0x0000_0003_0000_0167,
            0x0000_0000_0008_1679,
            0x0000_0000_0008_1661,
            0x0000_0000_fff8_6a7b,
            0x0000_0007_fff0_0a62,
            0x0000_0000_0000_10db,
            0x0000_0082_0000_0085,
            0x0000_0000_0000_0095,
        ];
        assert_eq!(code, expected);
    }

    #[test]
    fn a_map_takes_two_instructions_and_names_its_descriptor() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let code = assembled(|p| p.load_map(R2, file.as_fd()));
        let descriptor = u64::try_from(file.as_raw_fd()).unwrap();
        assert_eq!(code, [descriptor << 32 | 0x1218, 0]);
    }

    #[test]
    fn jumps_count_from_the_instruction_behind_them() {
        let code = assembled(|p| {
            let (start, end) = (p.label(), p.label());
            p.place(start);
            p.jump_if_equal(R1, 2, end);
            p.jump_if_any_set(R1, 32, start);
            p.jump_if_at_least(R1, 7, end);
            p.jump_if_at_most_signed(R1, 0, end);
            p.jump(end);
            p.place(end);
            p.exit();
        });
        let expected = [
            0x0000_0002_0004_0115,
            0x0000_0020_fffe_0145,
            0x0000_0007_0002_0135,
            0x0000_0000_0001_01d5,
            0x0000_0000_0000_0005,
            0x0000_0000_0000_0095,
        ];
        assert_eq!(code, expected);
    }

    #[test]
    #[should_panic(expected = "every label is placed")]
    fn a_label_that_is_nowhere_is_a_mistake_of_ours() {
        assembled(|p| {
            let nowhere = p.label();
            p.jump(nowhere);
        });
    }
}
