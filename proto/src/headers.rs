//! The headers of a record, as bytes in which they lie one behind the other: nothing is read of them until somebody looks.

/// A header: its key, and its value unless that is null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// The headers of a record, in the order in which they were sent; a key may come again.
///
/// The bytes are those of Kafka's message format 2: how many there are, and of each the key's length, the key, the
/// value's length (negative for null) and the value, all numbers as zigzag varints. Bytes that are none of this have no
/// header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a>(&'a [u8]);

impl<'a> Headers<'a> {
    /// No headers.
    pub const NONE: Headers<'static> = Headers(&[]);

    /// Headers that lie in these bytes.
    pub const fn new(bytes: &'a [u8]) -> Headers<'a> {
        Headers(bytes)
    }

    /// The bytes; empty when there are no headers.
    pub fn bytes(self) -> &'a [u8] {
        match self.is_empty() {
            true => &[],
            false => self.0,
        }
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = Header<'a>> {
        let (count, rest) = whole(self.0).unwrap_or_default();
        let mut rest = rest;
        (0..count).map_while(move |_| header(&mut rest))
    }

    /// Writes headers behind what is there; nothing when there are none.
    pub fn write<'h>(headers: impl ExactSizeIterator<Item = Header<'h>>, out: &mut Vec<u8>) {
        if headers.len() == 0 {
            return;
        }
        put(headers.len() as i64, out);
        for (key, value) in headers {
            put(key.len() as i64, out);
            out.extend_from_slice(key);
            put(value.map_or(-1, |value| value.len() as i64), out);
            out.extend_from_slice(value.unwrap_or_default());
        }
    }
}

/// How many headers there are and where they begin, if the bytes are headers to their end.
fn whole(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut rest = bytes;
    let count = length(&mut rest)??;
    let headers = rest;
    // A header has two bytes at least.
    (count <= rest.len() / 2).then_some(())?;
    (0..count).try_for_each(|_| header(&mut rest).map(drop))?;
    rest.is_empty().then_some((count, headers))
}

fn header<'a>(rest: &mut &'a [u8]) -> Option<Header<'a>> {
    let key = length(rest)??;
    let key = take(rest, key)?;
    let value = match length(rest)? {
        Some(value) => Some(take(rest, value)?),
        None => None,
    };
    Some((key, value))
}

fn take<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (taken, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    Some(taken)
}

/// A length, none when it is negative.
fn length(rest: &mut &[u8]) -> Option<Option<usize>> {
    let mut number = 0_u64;
    for (place, byte) in rest.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            *rest = &rest[place + 1..];
            let number = (number >> 1) as i64 ^ -((number & 1) as i64);
            return Some(usize::try_from(number).ok());
        }
    }
    None
}

fn put(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(
            headers in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 0..200), prop::option::of(prop::collection::vec(any::<u8>(), 0..9))), 0..5)
        ) {
            let wanted: Vec<Header<'_>> = headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            let mut bytes = Vec::new();
            Headers::write(wanted.iter().copied(), &mut bytes);
            let read = Headers::new(&bytes);
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), wanted);
            prop_assert_eq!((read.is_empty(), read.bytes()), (headers.is_empty(), &bytes[..]));
            // Cut short, or with something behind them, they are none.
            let longer = [&bytes[..], &[0]].concat();
            for other in (0..bytes.len()).map(|end| &bytes[..end]).chain((!bytes.is_empty()).then_some(&longer[..])) {
                prop_assert_eq!(Headers::new(other).iter().count(), 0);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            Headers::new(&bytes).iter().count();
        }
    }

    #[test]
    fn a_count_of_none_is_no_headers() {
        assert_eq!(Headers::new(&[0]).bytes(), &[] as &[u8]);
        assert!(Headers::NONE.is_empty());
    }
}
