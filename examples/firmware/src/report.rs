//! Lines of `name value…` over semihosting, without `core::fmt`.

use semihosting::io::{self, Write};

/// A line under construction. What does not fit is dropped.
pub(crate) struct Line {
    bytes: [u8; 64],
    len: usize,
}

impl Line {
    /// A line that starts with `name`.
    pub(crate) fn new(name: &str) -> Self {
        let mut line = Self { bytes: [0; 64], len: 0 };
        for byte in name.bytes() {
            line.push(byte);
        }
        line
    }

    /// Appends a decimal number.
    pub(crate) fn number(mut self, mut value: usize) -> Self {
        let mut digits = [b'0'; 20];
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit += (value % 10) as u8;
            value /= 10;
            used += 1;
            if value == 0 {
                break;
            }
        }
        self.push(b' ');
        for &digit in digits.iter().skip(digits.len() - used) {
            self.push(digit);
        }
        self
    }

    /// Appends eight hexadecimal digits.
    pub(crate) fn hex(mut self, value: u32) -> Self {
        self.push(b' ');
        for shift in (0..32).step_by(4).rev() {
            let digit = (value >> shift) as u8 & 0xf;
            self.push(digit + if digit < 10 { b'0' } else { b'a' - 10 });
        }
        self
    }

    /// Sends the line to the host. A host that does not listen is no error.
    pub(crate) fn print(mut self) {
        self.push(b'\n');
        let mut rest = self.bytes.get(..self.len).unwrap_or_default();
        let Ok(mut host) = io::stdout() else { return };
        while !rest.is_empty() {
            match host.write(rest) {
                Ok(sent) if sent > 0 => rest = rest.get(sent..).unwrap_or_default(),
                _ => return,
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }
}
