//! The examples in SPEC.md are what the packers write.

use secateur_format::encoding::{BlockIndex, Encoding, Quantized, ValueType, pack};

const SPEC: &str = include_str!("../../SPEC.md");

/// The bytes of the example called `name`: hex digits, with comments behind `;`.
fn example(name: &str) -> Vec<u8> {
    let fence = format!("```hex {name}\n");
    let (_, rest) = SPEC.split_once(&fence).unwrap_or_else(|| panic!("no example {name}"));
    let (block, _) = rest.split_once("```").unwrap();
    let digits = block
        .lines()
        .flat_map(|line| line.split(';').next().unwrap().split_whitespace());
    digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

#[test]
fn examples() {
    let mut weights = [0.0; 16];
    (weights[1], weights[6], weights[7], weights[8]) = (1.0, 2.0, 3.0, -1.0);
    let block = |index| Encoding::Block { r: 2, c: 2, index };
    let encodings = [
        Encoding::Dense,
        Encoding::Csr16,
        Encoding::Win8,
        Encoding::Bitmask,
        Encoding::Nm { n: 2, m: 4 },
        block(BlockIndex::Csr16),
        block(BlockIndex::Win8),
    ];
    for encoding in encodings {
        let packed = pack(&Quantized::new(&weights, 8, ValueType::F16).unwrap(), encoding).unwrap();
        assert_eq!(
            packed.payload,
            example(&encoding.to_string()),
            "{encoding}: {:02X?}",
            packed.payload
        );
    }
    let q = Quantized::new(&[127.0, -64.0, 0.0, 0.0, 63.5, 0.0], 3, ValueType::I8).unwrap();
    assert_eq!(pack(&q, Encoding::Win8).unwrap().payload, example("i8"));
}
