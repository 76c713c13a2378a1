//! Generations: each run claims one before it writes anything, and writes no more when a newer one is claimed.

use super::names::FileName;
use super::store::{Store, StoreError};
use tidewatch_proto::ids::Generation;

/// Claims the next generation: one that is newer than all that the store knows, and not before `wall_ms`, so that
/// generations grow when a store is emptied. Of two who do it at once the later has the newer one.
///
/// # Errors
/// When the store can't be read or written, or would let two have the same.
pub fn claim(store: &dyn Store, wall_ms: u64) -> Result<Generation, StoreError> {
    let mut least = wall_ms;
    loop {
        let known = store
            .list()?
            .iter()
            .filter_map(|name| FileName::parse(name))
            .max_by_key(|file| file.generation());
        let generation = Generation(known.map_or(least, |file| least.max(file.generation().0 + 1)));
        let name = FileName::Claim(generation).to_string();
        if store.put_new(&name, b"")? {
            return match store.put_new(&name, b"")? {
                false => Ok(generation),
                true => Err(StoreError::new(
                    format!("{}/{name}", store.place()),
                    "the store writes it twice though it must not: use one that knows If-None-Match",
                )),
            };
        }
        least = generation.0 + 1;
    }
}

/// The newest claimed generation, if it is newer than this one.
pub(super) fn newer(store: &dyn Store, than: Generation) -> Result<Option<Generation>, StoreError> {
    let names = store.list()?;
    let claimed = names.iter().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Claim(generation)) if generation > than => Some(generation),
        _ => None,
    });
    Ok(claimed.max())
}

#[cfg(test)]
mod tests {
    use super::super::Folder;
    use super::*;
    use tidewatch_proto::ids::Epoch;

    #[test]
    fn generations_grow_and_nobody_shares_one() {
        let place = tempfile::tempdir().expect("a folder");
        let store = Folder::shared(place.path()).expect("a folder");
        assert_eq!(claim(&store, 5).expect("claimed"), Generation(5));
        assert_eq!(
            claim(&store, 5).expect("claimed"),
            Generation(6),
            "the clock stood still"
        );
        assert_eq!(claim(&store, 3).expect("claimed"), Generation(7), "the clock went back");
        assert_eq!(claim(&store, 20).expect("claimed"), Generation(20));
        let manifest = FileName::Manifest(Generation(30), Epoch(1)).to_string();
        store.put(&manifest, b"").expect("put");
        assert_eq!(
            claim(&store, 9).expect("claimed"),
            Generation(31),
            "a claim was removed"
        );
        let mut claimed: Vec<u64> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| claim(&store, 40).expect("claimed").0))
                .collect();
            all.into_iter().map(|one| one.join().expect("it ends")).collect()
        });
        claimed.sort_unstable();
        assert_eq!(claimed, [40, 41, 42, 43]);
        assert_eq!(newer(&store, Generation(42)).expect("read"), Some(Generation(43)));
        assert_eq!(newer(&store, Generation(43)).expect("read"), None);
    }
}
