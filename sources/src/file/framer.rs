//! Cuts an input into frames: lines, or messages behind their lengths.

use super::input::{Filled, Input};
use std::io;
use std::ops::Range;

/// The longest line, and the longest message.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 20;
/// How much is kept of a frame that can't be used because of its length.
const BROKEN_BYTES_MAX: usize = 64 << 10;
/// The longest varint.
const VARINT_BYTES_MAX: usize = 10;

/// How an input is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// At line breaks, which don't belong to the frames.
    Lines,
    /// By the length before each frame, a varint.
    Delimited,
}

/// A piece of the input: where its bytes lie in the framer's buffer, until the next one is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A whole frame.
    Whole(Range<usize>),
    /// The beginning of something that can't be a frame, and why.
    Broken(Range<usize>, String),
    /// Nothing more just now.
    Pending,
    /// Nothing more ever.
    End,
}

/// Cuts an input into frames.
pub(super) struct Framer {
    input: Input,
    framing: Framing,
    buffer: Vec<u8>,
    /// Where the next frame begins in the buffer.
    start: usize,
    /// Up to where it was already looked through for a line break.
    scanned: usize,
    /// Whether the rest of a line that was too long is being passed over.
    passing_over: bool,
    ended: bool,
}

impl Framer {
    pub(super) fn new(input: Input, framing: Framing) -> Framer {
        Framer {
            input,
            framing,
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            passing_over: false,
            ended: false,
        }
    }

    /// The bytes of the frame that was returned last.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        &self.buffer[range.clone()]
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> io::Result<Frame> {
        loop {
            let cut = match self.framing {
                Framing::Lines => self.cut_line(),
                Framing::Delimited => self.cut_message(),
            };
            if let Some(frame) = cut {
                return Ok(frame);
            }
            if self.ended {
                return Ok(self.rest());
            }
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
            match self.input.fill(&mut self.buffer)? {
                Filled::Some => {}
                Filled::Pending => return Ok(Frame::Pending),
                Filled::End => self.ended = true,
            }
        }
    }

    fn cut_line(&mut self) -> Option<Frame> {
        let found = self.buffer[self.scanned..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| self.scanned + at);
        self.scanned = found.map_or(self.buffer.len(), |at| at + 1);
        let begin = self.start;
        if self.passing_over {
            self.start = self.scanned;
            self.passing_over = found.is_none();
            return if self.passing_over { None } else { self.cut_line() };
        }
        if found.unwrap_or(self.buffer.len()) - begin > FRAME_BYTES_MAX {
            self.start = self.scanned;
            self.passing_over = found.is_none();
            let why = format!("the line is longer than {FRAME_BYTES_MAX} bytes");
            return Some(Frame::Broken(begin..begin + BROKEN_BYTES_MAX, why));
        }
        let end = found?;
        self.start = self.scanned;
        Some(Frame::Whole(begin..without_return(&self.buffer, begin, end)))
    }

    fn cut_message(&mut self) -> Option<Frame> {
        let (length, begin) = match varint(&self.buffer[self.start..]) {
            Varint::Cut => return None,
            Varint::Whole(length, bytes) if length <= FRAME_BYTES_MAX as u64 => (length as usize, self.start + bytes),
            Varint::Whole(..) | Varint::Wrong => {
                return Some(self.give_up("the length before the message can't be right"));
            }
        };
        let end = begin + length;
        if end > self.buffer.len() {
            return None;
        }
        self.start = end;
        self.scanned = end;
        Some(Frame::Whole(begin..end))
    }

    /// What is left when the input has ended.
    fn rest(&mut self) -> Frame {
        let begin = self.start;
        if begin == self.buffer.len() {
            return Frame::End;
        }
        match self.framing {
            Framing::Lines => {
                self.start = self.buffer.len();
                Frame::Whole(begin..without_return(&self.buffer, begin, self.start))
            }
            Framing::Delimited => self.give_up("the message is cut off by the end of the file"),
        }
    }

    /// Ends the input here, since nobody knows where the next frame would begin.
    fn give_up(&mut self, why: &str) -> Frame {
        let begin = self.start;
        let end = self.buffer.len().min(begin + BROKEN_BYTES_MAX);
        self.start = self.buffer.len();
        self.scanned = self.start;
        self.ended = true;
        Frame::Broken(begin..end, format!("{why}; nothing behind it can be read"))
    }
}

fn without_return(buffer: &[u8], begin: usize, end: usize) -> usize {
    if end > begin && buffer[end - 1] == b'\r' {
        end - 1
    } else {
        end
    }
}

enum Varint {
    /// Its value and how many bytes it takes.
    Whole(u64, usize),
    Cut,
    Wrong,
}

fn varint(bytes: &[u8]) -> Varint {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Varint::Whole(value, place + 1);
        }
    }
    if bytes.len() < VARINT_BYTES_MAX {
        Varint::Cut
    } else {
        Varint::Wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], framing: Framing) -> Vec<Result<Vec<u8>, usize>> {
        let mut framer = Framer::new(Input::pipe(io::Cursor::new(bytes.to_vec())).unwrap(), framing);
        let mut frames = Vec::new();
        loop {
            match framer.next().unwrap() {
                Frame::Whole(range) => frames.push(Ok(framer.bytes(&range).to_vec())),
                Frame::Broken(range, _) => frames.push(Err(range.len())),
                Frame::Pending => std::thread::yield_now(),
                Frame::End => return frames,
            }
        }
    }

    fn lines(text: &str) -> Vec<String> {
        let whole = |frame: Result<Vec<u8>, usize>| String::from_utf8(frame.unwrap()).unwrap();
        frames(text.as_bytes(), Framing::Lines).into_iter().map(whole).collect()
    }

    #[test]
    fn lines_end_in_every_way() {
        assert_eq!(lines(""), Vec::<String>::new());
        assert_eq!(lines("\n"), [""]);
        assert_eq!(lines("a\nb"), ["a", "b"]);
        assert_eq!(lines("a\r\n\r\nb\r\n"), ["a", "", "b"]);
        let long = "x".repeat(300_000);
        assert_eq!(lines(&format!("{long}\n{long}")), [long.clone(), long]);
    }

    #[test]
    fn a_line_too_long_spoils_only_itself() {
        let mut bytes = b"a\n".to_vec();
        bytes.resize(FRAME_BYTES_MAX * 3, b'x');
        bytes.extend_from_slice(b"\nb\n");
        assert_eq!(
            frames(&bytes, Framing::Lines),
            [Ok(b"a".to_vec()), Err(BROKEN_BYTES_MAX), Ok(b"b".to_vec())]
        );
    }

    #[test]
    fn messages_behind_their_lengths() {
        let check =
            |bytes: &[u8], expected: &[Result<Vec<u8>, usize>]| assert_eq!(frames(bytes, Framing::Delimited), expected);
        check(
            b"\x02ab\x00\x01c",
            &[Ok(b"ab".to_vec()), Ok(Vec::new()), Ok(b"c".to_vec())],
        );
        check(b"\x01a\x05bc", &[Ok(b"a".to_vec()), Err(3)]);
        check(
            b"\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            &[Ok(b"a".to_vec()), Err(11)],
        );
        check(b"\x80", &[Err(1)]);
    }
}
