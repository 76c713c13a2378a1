//! `ApiVersions`: whether a broker knows the requests of this client.

use super::{Api, Garbled, Input, Output, fetch, metadata, offsets};

/// The request, in the version that every broker knows.
pub(in super::super) const API: Api = Api {
    name: "ApiVersions",
    key: 18,
    version: 0,
    flexible: false,
};

/// Bytes of a request's key and its range of versions.
const RANGE_BYTES: usize = 6;

pub(in super::super) fn request(correlation: i32) -> Vec<u8> {
    Output::new(API, correlation).finish()
}

/// Reads an answer: the first request that the broker doesn't know in this client's version.
pub(in super::super) fn unknown(mut input: Input<'_>) -> Result<Option<&'static str>, Garbled> {
    let code = input.i16()?;
    let ranges = (0..input.count(RANGE_BYTES)?)
        .map(|_| Ok((input.i16()?, input.i16()?, input.i16()?)))
        .collect::<Result<Vec<_>, Garbled>>()?;
    let knows = |api: &Api| {
        let knows = |(key, least, most): &(i16, i16, i16)| *key == api.key && (*least..=*most).contains(&api.version);
        code == 0 && ranges.iter().any(knows)
    };
    let needed = [metadata::API, offsets::API, fetch::API];
    Ok(needed.iter().find(|api| !knows(api)).map(|api| api.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broker_lacks_is_named() {
        let answer = |ranges: &[(i16, i16, i16)]| {
            let mut output = Output(Vec::new());
            output.i16(0).count(ranges.len());
            for (key, least, most) in ranges {
                output.i16(*key).i16(*least).i16(*most);
            }
            output.0
        };
        let all = answer(&[(1, 4, 17), (2, 1, 10), (3, 0, 13), (18, 0, 4)]);
        assert_eq!(unknown(Input(&all)), Ok(None));
        let old = answer(&[(1, 0, 11), (2, 0, 5), (3, 0, 8)]);
        assert_eq!(unknown(Input(&old)), Ok(Some("Fetch")));
        for len in 0..all.len() {
            assert_eq!(unknown(Input(&all[..len])), Err(Garbled));
        }
    }
}
