//! Event times as `timestamptz`, in PostgreSQL's binary format.

use postgres::types::private::BytesMut;
use postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use std::error::Error;

/// PostgreSQL counts microseconds from the year 2000.
const YEAR_2000_MS: i64 = 946_684_800_000;
const MICROS: i64 = 1_000;
/// From 4714 BC to the year 294276: PostgreSQL refuses what is outside.
const MICROS_MIN: i64 = -211_813_488_000_000_000;
const MICROS_MAX: i64 = 9_223_371_331_199_999_999;

/// Milliseconds since 1970, sent and read as `timestamptz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) i64);

impl Stamp {
    /// A time, if a `timestamptz` can hold it.
    pub(super) fn fitting(ms: i64) -> Option<Stamp> {
        let micros = Stamp(ms).micros();
        micros
            .filter(|micros| (MICROS_MIN..=MICROS_MAX).contains(micros))
            .map(|_| Stamp(ms))
    }

    /// As PostgreSQL sends it: microseconds since 2000.
    pub(super) fn micros(self) -> Option<i64> {
        let ms = self.0.checked_sub(YEAR_2000_MS)?;
        ms.checked_mul(MICROS)
    }
}

impl ToSql for Stamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let micros = self.micros().ok_or("the time does not fit a timestamptz")?;
        out.extend_from_slice(&micros.to_be_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Stamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Stamp, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        Ok(Stamp(micros.div_euclid(MICROS) + YEAR_2000_MS))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TIMESTAMPTZ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits() {
        let year_294276 = YEAR_2000_MS + MICROS_MAX / MICROS;
        for (ms, fits) in [
            (0, true),
            (year_294276, true),
            (year_294276 + 1, false),
            (i64::MAX, false),
            (i64::MIN, false),
        ] {
            assert_eq!(Stamp::fitting(ms).is_some(), fits, "{ms}");
        }
    }
}
