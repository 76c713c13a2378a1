//! The wire form of messages whose metrics are known: compared with what is expected instead of being parsed.
//!
//! Devices send the same metrics in the same order over and over, and every encoder writes them alike: id, time, an
//! entry for each metric, and `raw` if there is any. Where a message has just this form, all but its values is known
//! beforehand. Whatever else it may be, [`crate::walk::walk`] has to say.

use crate::walk::Message;

/// The expected form of some metrics, in their order.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// What comes before each value, one after the other: the entry's key and length, the name, the value's key.
    heads: Vec<u8>,
    /// How long each of them is.
    lengths: Vec<u8>,
}

const DEVICE_ID: u8 = 0x0a;
const TS: u8 = 0x10;
const ENTRY: u8 = 0x1a;
const RAW: u8 = 0x22;
const NAME: u8 = 0x0a;
const VALUE: u8 = 0x11;
/// Bytes of an entry beside its name: its key and length, the name's key and length, the value's key.
const AROUND_NAME: usize = 5;
const VALUE_BYTES: usize = 8;
/// The longest name whose entry's length takes one byte.
const NAME_BYTES_MAX: usize = 0x7f - 3 - VALUE_BYTES;

impl Template {
    /// The form of these metrics; `None` when there is none, or a name is so long that its length takes two bytes.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a [u8]>) -> Option<Template> {
        let mut template = Template::default();
        for name in names {
            if name.len() > NAME_BYTES_MAX {
                return None;
            }
            let entry_bytes = (name.len() + 3 + VALUE_BYTES) as u8;
            template.heads.extend([ENTRY, entry_bytes, NAME, name.len() as u8]);
            template.heads.extend_from_slice(name);
            template.heads.push(VALUE);
            template.lengths.push((name.len() + AROUND_NAME) as u8);
        }
        (!template.lengths.is_empty()).then_some(template)
    }

    /// Reads a message of this form and appends its values, one for each metric. The id is not checked to be text.
    /// `None`, with nothing appended, when the message has any other form.
    #[inline]
    pub fn read<'a>(&self, bytes: &'a [u8], values: &mut Vec<f64>) -> Option<Message<'a>> {
        let before = values.len();
        let message = self.read_all(bytes, values);
        if message.is_none() {
            values.truncate(before);
        }
        message
    }

    #[inline]
    fn read_all<'a>(&self, bytes: &'a [u8], values: &mut Vec<f64>) -> Option<Message<'a>> {
        let (device_id, rest) = field(bytes, DEVICE_ID)?;
        let (ts, mut rest) = varint(rest.strip_prefix(&[TS])?)?;
        let mut heads = self.heads.as_slice();
        for length in &self.lengths {
            let (head, later) = heads.split_at(usize::from(*length));
            let (found, behind) = rest.split_at_checked(head.len())?;
            let (value, behind) = behind.split_first_chunk::<VALUE_BYTES>()?;
            if !same(head, found) {
                return None;
            }
            values.push(f64::from_le_bytes(*value));
            (heads, rest) = (later, behind);
        }
        let mut raw: &[u8] = &[];
        if !rest.is_empty() {
            let (found, behind) = field(rest, RAW)?;
            raw = found;
            if !behind.is_empty() {
                return None;
            }
        }
        Some(Message {
            device_id,
            ts: ts as i64,
            raw,
            has_unknown: false,
        })
    }
}

/// A length-delimited field with this key, and what comes behind it.
#[inline]
fn field(bytes: &[u8], key: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[key])?;
    let (length, rest) = match rest {
        [length @ 0..0x80, rest @ ..] => (u64::from(*length), rest),
        _ => varint(rest)?,
    };
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A number of up to nine bytes, and what comes behind it.
#[inline]
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in bytes.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return Some((number, &bytes[place + 1..]));
        }
    }
    None
}

/// Are two slices of one length equal? They are short: calling `memcmp` would take longer.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        (Some(a_end), Some(b_end)) => {
            let (a_words, b_words) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
            let differs = |a: &[u8; 8], b: &[u8; 8]| u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
            let words = a_words.iter().zip(b_words);
            words.fold(differs(a_end, b_end), |found, (a, b)| found | differs(a, b)) == 0
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::walk;
    use crate::wire::Telemetry;
    use proptest::prelude::*;
    use prost::Message as _;

    fn template(names: &[&str]) -> Template {
        Template::of(names.iter().map(|name| name.as_bytes())).unwrap()
    }

    /// Whatever the template reads, the walk reads as well.
    fn check(template: &Template, names: &[&str], bytes: &[u8]) -> bool {
        let mut values = vec![0.5];
        let Some(message) = template.read(bytes, &mut values) else {
            assert_eq!(values, [0.5]);
            return false;
        };
        let mut metrics = Vec::new();
        let Ok(walked) = walk(bytes, &mut metrics) else {
            // All that it leaves unchecked.
            assert!(std::str::from_utf8(message.device_id).is_err());
            return false;
        };
        assert_eq!((message.device_id, message.ts), (walked.device_id, walked.ts));
        assert_eq!(message.raw, walked.raw);
        let found: Vec<(&[u8], u64)> = metrics.iter().map(|(name, value)| (*name, value.to_bits())).collect();
        let values = values[1..].iter().map(|value| value.to_bits());
        let expected: Vec<(&[u8], u64)> = names.iter().map(|name| name.as_bytes()).zip(values).collect();
        assert_eq!(found, expected);
        true
    }

    proptest! {
        #[test]
        fn it_reads_what_the_walk_reads(
            device_id in "[a-zé0-9-]{0,200}", ts in any::<i64>(), value in any::<f64>(), raw in prop::collection::vec(any::<u8>(), 0..200),
            name in "[a-z_]{1,116}", flip in any::<prop::sample::Index>(), with in any::<u8>()
        ) {
            let metrics = [(name.clone(), value)].into();
            let mut bytes = Telemetry { device_id: device_id.clone(), ts, metrics, raw }.encode_to_vec();
            let named = template(&[&name]);
            let usual = !device_id.is_empty() && ts > 0 && value != 0.0;
            prop_assert!(check(&named, &[&name], &bytes) || !usual);
            let at = flip.index(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = with;
            }
            check(&named, &[&name], &bytes);
        }
    }

    #[test]
    fn another_order_another_metric_or_anything_behind_is_another_form() {
        let entry = |name: &str, value: f64| {
            Telemetry {
                metrics: [(name.to_owned(), value)].into(),
                ..Telemetry::default()
            }
            .encode_to_vec()
        };
        let head = Telemetry {
            device_id: "d".into(),
            ts: 5,
            ..Telemetry::default()
        }
        .encode_to_vec();
        let both = template(&["a", "long-metric-name"]);
        let message = |parts: &[&[u8]]| [&head[..], &parts.concat()].concat();
        let (a, long) = (entry("a", 1.0), entry("long-metric-name", 2.0));
        let names = ["a", "long-metric-name"];
        assert!(check(&both, &names, &message(&[&a, &long])));
        for other in [
            vec![&a[..]],
            vec![&long, &a],
            vec![&a, &long, &a],
            vec![&a, &entry("long-metric-nome", 2.0)],
            vec![],
        ] {
            assert!(!check(&both, &names, &message(&other)));
        }
        let whole = message(&[&a, &long]);
        assert!((0..whole.len()).all(|end| !check(&both, &names, &whole[..end])));
    }

    #[test]
    fn a_long_name_and_no_name_have_no_template() {
        let name = |bytes: usize| vec![b'n'; bytes];
        assert!(Template::of([&name(NAME_BYTES_MAX)[..]]).is_some());
        assert!(Template::of([&name(NAME_BYTES_MAX + 1)[..]]).is_none());
        assert!(Template::of([]).is_none());
    }
}
