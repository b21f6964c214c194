//! Numbers for tests that try many things.

/// A small generator of numbers that look random, and are the same in each run.
#[derive(Debug, Clone)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers that follow a seed other than 0.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// An index below `length`.
    pub fn index(&mut self, length: usize) -> usize {
        let limit = u64::try_from(length).expect("a length");
        usize::try_from(self.below(limit)).expect("an index")
    }
}
