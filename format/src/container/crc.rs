//! CRC-32C (Castagnoli), reflected, initial value and final xor 0xFFFFFFFF.
//! `const`, small, and without tables that a microcontroller would pay for:
//! the table is 64 bytes.

const POLYNOMIAL: u32 = 0x82F6_3B78;

/// The checksum of each nibble.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 4 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// CRC-32C of the concatenation of `parts`.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for part in parts {
        for &byte in *part {
            crc ^= u32::from(byte);
            // A nibble indexes a table of 16: no bounds check is left.
            crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
            crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::crc32c;

    #[test]
    fn published_vectors() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[b"123456789"]), 0xE306_9283);
        assert_eq!(crc32c(&[&[0; 32]]), 0x8A91_36AA);
        assert_eq!(crc32c(&[&[0xFF; 16], &[0xFF; 16]]), 0x62A8_AB43);
    }
}
