//! Numbers for tests that try many things.

/// A small generator (xorshift) of numbers that look random, and are the same in each run, so
/// that a failure can be looked into.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers that follow a seed other than 0.
    pub fn new(seed: u64) -> Self {
        assert_ne!(seed, 0, "0 is followed by nothing else");
        Self(seed)
    }

    /// Any number but 0.
    pub fn any(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.any() % limit
    }

    /// An index below `length`.
    pub fn index(&mut self, length: usize) -> usize {
        let limit = u64::try_from(length).expect("a length");
        usize::try_from(self.below(limit)).expect("an index")
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.index(items.len())]
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        self.any().to_le_bytes()[0]
    }

    /// Bytes that no program makes shorter.
    pub fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.any().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}
