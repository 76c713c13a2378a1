//! Generations: each run claims one before it writes anything, and writes no more when a newer one is claimed.

use super::names::FileName;
use super::store::{Store, StoreError};
use tidewatch_failpoints::{Bug, has_bug};
use tidewatch_proto::ids::Generation;

/// A claimed generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The generation.
    pub generation: Generation,
    /// How many processes the largest older run had that may still be there.
    pub former: usize,
}

/// Claims the next generation for a run of so many processes: one that is newer than all that the store knows, and not
/// before `wall_ms`, so that generations grow when a store is emptied. Of two who do it at once the later has the newer
/// one.
///
/// # Errors
/// When the store can't be read or written, or would let two have the same.
pub fn claim(store: &dyn Store, wall_ms: u64, processes: usize) -> Result<Claimed, StoreError> {
    let mut least = wall_ms;
    let content = processes.to_string();
    loop {
        let names = store.list()?;
        let known = names
            .iter()
            .filter_map(|name| FileName::parse(name))
            .max_by_key(|file| file.generation());
        let generation = Generation(known.map_or(least, |file| least.max(file.generation().0 + 1)));
        let name = FileName::Claim(generation).to_string();
        if store.put_new(&name, content.as_bytes())? {
            return match store.put_new(&name, content.as_bytes())? {
                false => Ok(Claimed {
                    generation,
                    former: former(store, generation)?,
                }),
                true => Err(StoreError::new(
                    format!("{}/{name}", store.place()),
                    "the store writes it twice though it must not: use one that knows If-None-Match",
                )),
            };
        }
        least = generation.0 + 1;
    }
}

/// How many processes the largest run had that claimed a generation before this one.
fn former(store: &dyn Store, before: Generation) -> Result<usize, StoreError> {
    let names = store.list()?;
    let older = names
        .iter()
        .filter(|name| matches!(FileName::parse(name), Some(FileName::Claim(generation)) if generation < before));
    let mut most = 1;
    for name in older {
        let said = match store.get(name) {
            Ok(said) => said,
            Err(error) if store.list()?.contains(name) => return Err(error),
            // Whoever removed it meanwhile has shut that run out.
            Err(_) => continue,
        };
        // One that says nothing is of a run from before there were several processes.
        let said = std::str::from_utf8(&said).ok().and_then(|text| text.parse().ok());
        most = most.max(said.unwrap_or(1));
    }
    Ok(most)
}

/// A newer run has begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("replaced by generation {by}, which goes on from the checkpoints in {place}; this is generation {own}")]
pub struct Replaced {
    own: Generation,
    by: Generation,
    place: String,
}

/// Tells whether a newer generation has been claimed than a run's own, and then the newest.
///
/// # Errors
/// When the store can't be read.
pub fn replaced(store: &dyn Store, own: Generation) -> Result<Option<Replaced>, StoreError> {
    if has_bug(Bug::IgnoreFence) {
        return Ok(None);
    }
    let names = store.list()?;
    let claimed = names.iter().filter_map(|name| match FileName::parse(name) {
        Some(FileName::Claim(generation)) if generation > own => Some(generation),
        _ => None,
    });
    let place = store.place();
    Ok(claimed.max().map(|by| Replaced { own, by, place }))
}

#[cfg(test)]
mod tests {
    use super::super::Folder;
    use super::*;
    use tidewatch_proto::ids::Epoch;

    /// A folder of which nothing can be read, and from which what is asked for is gone then, if so told.
    struct Unreadable(Folder, bool);

    impl Store for Unreadable {
        fn place(&self) -> String {
            self.0.place()
        }

        fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
            self.0.put(name, bytes)
        }

        fn put_new(&self, name: &str, bytes: &[u8]) -> Result<bool, StoreError> {
            self.0.put_new(name, bytes)
        }

        fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
            if self.1 {
                self.0.remove(name)?;
            }
            Err(StoreError::new(name, "not now"))
        }

        fn list(&self) -> Result<Vec<String>, StoreError> {
            self.0.list()
        }

        fn remove(&self, name: &str) -> Result<(), StoreError> {
            self.0.remove(name)
        }
    }

    #[test]
    fn an_older_run_whose_claim_can_not_be_read_is_not_taken_for_a_small_one() {
        let place = tempfile::tempdir().expect("a folder");
        let folder = || Folder::shared(place.path()).expect("a folder");
        claim(&folder(), 5, 4).expect("claimed");
        let error = claim(&Unreadable(folder(), false), 6, 1).expect_err("nobody knows how large that run is");
        assert!(error.to_string().contains("not now"), "{error}");
        let claimed = claim(&Unreadable(folder(), true), 7, 1).expect("claimed");
        assert_eq!(claimed.former, 1, "who removed a claim has shut its run out");
    }

    #[test]
    fn generations_grow_and_nobody_shares_one() {
        let place = tempfile::tempdir().expect("a folder");
        let store = Folder::shared(place.path()).expect("a folder");
        assert_eq!(claim(&store, 5, 2).expect("claimed").generation, Generation(5));
        assert_eq!(
            claim(&store, 5, 2).expect("claimed").generation,
            Generation(6),
            "the clock stood still"
        );
        assert_eq!(
            claim(&store, 3, 4).expect("claimed").generation,
            Generation(7),
            "the clock went back"
        );
        assert_eq!(claim(&store, 20, 2).expect("claimed").generation, Generation(20));
        let manifest = FileName::Manifest(Generation(30), Epoch(1)).to_string();
        store.put(&manifest, b"").expect("put");
        assert_eq!(
            claim(&store, 9, 1).expect("claimed").generation,
            Generation(31),
            "a claim was removed"
        );
        let mut claimed: Vec<u64> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| claim(&store, 40, 1).expect("claimed")))
                .collect();
            all.into_iter()
                .map(|one| one.join().expect("it ends").generation.0)
                .collect()
        });
        claimed.sort_unstable();
        assert_eq!(claimed, [40, 41, 42, 43]);
        let by = |own| {
            replaced(&store, Generation(own))
                .expect("read")
                .map(|replaced| replaced.by)
        };
        assert_eq!(
            (by(41), by(42), by(43)),
            (Some(Generation(43)), Some(Generation(43)), None)
        );
        let last = claim(&store, 50, 3).expect("claimed");
        assert_eq!(
            (last.generation, last.former),
            (Generation(50), 4),
            "the largest of all before"
        );
    }
}
