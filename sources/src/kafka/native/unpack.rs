//! Decompresses batches, each at once, into memory that is used again.

use super::batch::{Damage, HEAD_BYTES, Head};
use flate2::bufread::GzDecoder;
use lz4_flex::frame::FrameDecoder;
use std::io::Read;
use zstd_safe::DCtx;

/// What a batch may decompress to at most, in bytes.
pub(super) const UNPACKED_BYTES_MAX: usize = 256 << 20;
/// Room to begin with, in bytes.
const ROOM_BYTES: usize = 1 << 18;
/// What zstd says when the room is too small: the negated number of its `ZSTD_error_dstSize_tooSmall`.
const ZSTD_ROOM_TOO_SMALL: usize = 70_usize.wrapping_neg();
/// How the Java library for snappy begins what it wrote, and how many bytes that takes with two version numbers.
const SNAPPY_JAVA: &[u8] = b"\x82SNAPPY\0";
const SNAPPY_JAVA_HEAD_BYTES: usize = 16;

/// Decompresses; keeps its memory and zstd's state.
pub(super) struct Unpacker {
    zstd: DCtx<'static>,
    /// As large as the largest batch so far; only `len` of it are of this one.
    room: Vec<u8>,
    len: usize,
    bytes_max: usize,
}

impl Unpacker {
    pub(super) fn new() -> Option<Unpacker> {
        Some(Unpacker {
            zstd: DCtx::try_create()?,
            room: Vec::new(),
            len: 0,
            bytes_max: UNPACKED_BYTES_MAX,
        })
    }

    /// The same, for at most so many bytes.
    #[cfg(test)]
    pub(super) fn with_bytes_max(self, bytes_max: usize) -> Unpacker {
        Unpacker { bytes_max, ..self }
    }

    /// Decompresses the records of a whole batch, if they are compressed; [`Unpacker::records`] gives them.
    pub(super) fn unpack(&mut self, head: &Head, batch: &[u8]) -> Result<(), Damage> {
        let packed = batch.get(HEAD_BYTES..).ok_or(Damage::Shape)?;
        match head.codec() {
            0 => Ok(()),
            1 => {
                let mut reader = GzDecoder::new(packed);
                self.by_reader("gzip", &mut reader)?;
                used_up(reader.get_ref())
            }
            2 => self.snappy(packed),
            3 => {
                let mut reader = FrameDecoder::new(packed);
                self.by_reader("lz4", &mut reader)?;
                used_up(reader.get_ref())
            }
            4 => self.zstd(packed),
            codec => Err(Damage::Codec(codec)),
        }
    }

    /// The records of the batch that was unpacked last.
    pub(super) fn records<'b>(&'b self, head: &Head, batch: &'b [u8]) -> &'b [u8] {
        match head.codec() {
            0 => &batch[HEAD_BYTES..],
            _ => &self.room[..self.len],
        }
    }

    fn zstd(&mut self, packed: &[u8]) -> Result<(), Damage> {
        let told = zstd_safe::get_frame_content_size(packed).ok().flatten().unwrap_or(0);
        let told = usize::try_from(told).unwrap_or(usize::MAX);
        self.make_room(told.max(ROOM_BYTES.min(self.bytes_max)))?;
        loop {
            match self.zstd.decompress(&mut self.room[..], packed) {
                Ok(len) => {
                    self.len = len;
                    return Ok(());
                }
                // Some producers don't write the size.
                Err(ZSTD_ROOM_TOO_SMALL) => self.double_room()?,
                Err(code) => {
                    let problem = zstd_safe::get_error_name(code).to_owned();
                    return Err(Damage::Compression("zstd", problem));
                }
            }
        }
    }

    /// One block, or several behind the Java library's head, each with its length.
    fn snappy(&mut self, packed: &[u8]) -> Result<(), Damage> {
        self.len = 0;
        if !packed.starts_with(SNAPPY_JAVA) {
            return self.snappy_block(packed);
        }
        let mut rest = packed.get(SNAPPY_JAVA_HEAD_BYTES..).ok_or(Damage::Shape)?;
        while let Some((len, behind)) = rest.split_first_chunk::<4>() {
            let len = u32::from_be_bytes(*len) as usize;
            let (block, behind) = behind.split_at_checked(len).ok_or(Damage::Shape)?;
            self.snappy_block(block)?;
            rest = behind;
        }
        used_up(rest)
    }

    fn snappy_block(&mut self, block: &[u8]) -> Result<(), Damage> {
        let failed = |error: snap::Error| Damage::Compression("snappy", error.to_string());
        let len = snap::raw::decompress_len(block).map_err(failed)?;
        self.make_room(self.len.saturating_add(len))?;
        let room = &mut self.room[self.len..];
        self.len += snap::raw::Decoder::new().decompress(block, room).map_err(failed)?;
        Ok(())
    }

    fn by_reader(&mut self, codec: &'static str, reader: &mut impl Read) -> Result<(), Damage> {
        self.len = 0;
        self.make_room(ROOM_BYTES.min(self.bytes_max))?;
        loop {
            let taken = reader.read(&mut self.room[self.len..]);
            match taken.map_err(|error| Damage::Compression(codec, error.to_string()))? {
                0 => return Ok(()),
                taken => self.len += taken,
            }
            if self.len == self.room.len() {
                self.double_room()?;
            }
        }
    }

    fn double_room(&mut self) -> Result<(), Damage> {
        match self.room.len() < self.bytes_max {
            true => self.make_room((self.room.len() * 2).min(self.bytes_max)),
            false => Err(Damage::Size(self.bytes_max)),
        }
    }

    /// Sees to it that there is room for so many bytes.
    fn make_room(&mut self, bytes: usize) -> Result<(), Damage> {
        if bytes > self.bytes_max {
            return Err(Damage::Size(self.bytes_max));
        }
        if bytes > self.room.len() {
            self.room.resize(bytes, 0);
        }
        Ok(())
    }
}

/// An error when something is left behind what was decompressed.
fn used_up(rest: &[u8]) -> Result<(), Damage> {
    match rest {
        [] => Ok(()),
        _ => Err(Damage::Shape),
    }
}
