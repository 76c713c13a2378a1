//! Named places of the way to durability, where a test kills the process, makes an error or waits, and mistakes that a
//! test has the program make.
//!
//! Without the feature `failpoints` all of this is nothing: [`check`] is `Ok(())`, [`has_bug`] is `false`. With it, three
//! variables of the environment are read, once:
//!
//! * `TIDEWATCH_FAILPOINT`: what happens where: `segment-synced=kill@3`, `postgres-commit=error*2`,
//!   `kafka-rows-flush=delay:500@2`, several with `;` between. `@3`: when the place is passed for the third time, else
//!   the first; `*2`: twice in a row. `kill` ends the process as `kill -9` does; `delay:` takes milliseconds; `hang`
//!   stops the process as `kill -STOP` does, until somebody lets it go on.
//! * `TIDEWATCH_FAILPOINTS_SEEN`: a file to which the name of each place is appended when it is first passed.
//! * `TIDEWATCH_BUG`: the [`Bug`] that is made.

mod bug;
mod point;
#[cfg(feature = "failpoints")]
mod switched_on;

pub use bug::Bug;
pub use point::Point;

/// An error that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failpoint {}: an error was asked for", .0.name())]
pub struct Injected(pub Point);

impl From<Injected> for std::io::Error {
    fn from(injected: Injected) -> std::io::Error {
        std::io::Error::other(injected)
    }
}

/// Passes a place that can fail.
///
/// # Errors
/// When one was asked for.
#[inline]
pub fn check(point: Point) -> Result<(), Injected> {
    #[cfg(feature = "failpoints")]
    return switched_on::check(point);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = point;
        Ok(())
    }
}

/// Passes a place that can't fail: [`Point::can_fail`] says so.
#[inline]
pub fn pass(point: Point) {
    // No error is taken from the environment for such a place.
    let _ = check(point);
}

/// Whether the program is to make this mistake.
#[inline]
pub fn has_bug(bug: Bug) -> bool {
    #[cfg(feature = "failpoints")]
    return switched_on::has_bug(bug);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = bug;
        false
    }
}
