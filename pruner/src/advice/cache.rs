//! The caches of this machine.

/// Bytes of each level of cache, the first of data only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches([u64; 3]);

const NAMES: [&str; 3] = ["L1", "L2", "L3"];

impl Default for Caches {
    /// What a server of the last years has at least.
    fn default() -> Self {
        Self([32 << 10, 512 << 10, 16 << 20])
    }
}

impl Caches {
    /// The caches that the system tells of; the default where it does not.
    pub fn of_this_machine() -> Self {
        let mut caches = Self::default();
        for index in 0..8 {
            let read = |what: &str| {
                let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
                std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
            };
            let cache = (read("type"), read("level"), read("size"));
            let (Some(kind), Some(level), Some(size)) = cache else {
                continue;
            };
            let level = level.parse::<usize>().ok().and_then(|level| level.checked_sub(1));
            let slot = level.and_then(|level| caches.0.get_mut(level));
            if let (true, Some(slot), Some(bytes)) = (kind != "Instruction", slot, parse_size(&size)) {
                *slot = bytes;
            }
        }
        caches
    }

    /// The first level that has room for so many bytes.
    pub fn level(&self, bytes: u64) -> &'static str {
        let fitting = self.0.iter().zip(NAMES).find(|(size, _)| bytes <= **size);
        fitting.map_or("memory", |(_, name)| name)
    }
}

/// `48K` in bytes.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match &text[digits.len()..] {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_from_sizes() {
        let caches = Caches([32 << 10, 1 << 20, 32 << 20]);
        for (bytes, level) in [
            (0, "L1"),
            (32 << 10, "L1"),
            (33 << 10, "L2"),
            (2 << 20, "L3"),
            (1 << 30, "memory"),
        ] {
            assert_eq!(caches.level(bytes), level);
        }
        assert_eq!(
            [parse_size("48K"), parse_size("2M"), parse_size("7"), parse_size("1X")],
            [Some(48 << 10), Some(2 << 20), Some(7), None]
        );
    }
}
