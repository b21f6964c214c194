//! Files with holes: where their data belongs.

use std::io::Read;

use protocol::Result;
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use super::{BLOCK, Reader, bad_header, bad_sparse, damaged, truncated};
use crate::archive::member::Sparse;

/// Pieces of a file with holes: more do not fit a sane archive.
const PIECES_MAX: usize = 1 << 20;

impl<R: Read> Reader<R> {
    /// The pieces of a file with holes, from its header and the blocks after it.
    pub(super) fn old_sparse(&mut self, header: &Header) -> Result<Sparse> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| damaged("a file with holes has a header of another format"))?;
        let mut sparse = Sparse {
            size: gnu.real_size().map_err(bad_header)?,
            pieces: Vec::new(),
        };
        let mut more = gnu.is_extended();
        add_pieces(&gnu.sparse, &mut sparse.pieces)?;
        while more {
            let mut extension = GnuExtSparseHeader::new();
            let block = self.block()?.ok_or_else(truncated)?;
            extension.as_mut_bytes().copy_from_slice(&block);
            add_pieces(&extension.sparse, &mut sparse.pieces)?;
            if sparse.pieces.len() > PIECES_MAX {
                return Err(damaged("a file has too many holes"));
            }
            more = extension.is_extended();
        }
        Ok(sparse)
    }

    /// The pieces of a file with holes, from the beginning of its data.
    pub(super) fn sparse_map(&mut self) -> Result<Vec<(u64, u64)>> {
        let mut used = 0;
        let count = self.map_number(&mut used)?;
        if count > PIECES_MAX as u64 {
            return Err(damaged("a file has too many holes"));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            let offset = self.map_number(&mut used)?;
            pieces.push((offset, self.map_number(&mut used)?));
        }
        let mut padding = (BLOCK as u64 - used % BLOCK as u64) % BLOCK as u64;
        while padding > 0 && self.data > 0 {
            padding -= self.piece(padding)?.len() as u64;
        }
        Ok(pieces)
    }

    fn map_number(&mut self, used: &mut u64) -> Result<u64> {
        let mut number = 0_u64;
        loop {
            *used += 1;
            match self.piece(1)?.first() {
                Some(b'\n') => return Ok(number),
                Some(digit @ b'0'..=b'9') => {
                    number = number
                        .checked_mul(10)
                        .and_then(|number| number.checked_add(u64::from(digit - b'0')))
                        .ok_or_else(bad_sparse)?;
                }
                _ => return Err(bad_sparse()),
            }
        }
    }
}

fn add_pieces(headers: &[GnuSparseHeader], pieces: &mut Vec<(u64, u64)>) -> Result<()> {
    for piece in headers.iter().filter(|piece| !piece.is_empty()) {
        let offset = piece.offset().map_err(bad_header)?;
        pieces.push((offset, piece.length().map_err(bad_header)?));
    }
    Ok(())
}

/// Refuses pieces that lie outside the file, or that the archive has no data for.
pub(super) fn check_sparse(sparse: &Sparse, stored: u64) -> Result<()> {
    let mut data = 0_u64;
    for &(offset, len) in &sparse.pieces {
        data = data.checked_add(len).ok_or_else(bad_sparse)?;
        let end = offset.checked_add(len).ok_or_else(bad_sparse)?;
        if end > sparse.size {
            return Err(bad_sparse());
        }
    }
    if data > stored || i64::try_from(sparse.size).is_err() {
        return Err(bad_sparse());
    }
    Ok(())
}
