//! A small stream through all that the benches are made of: a minute at most, answers checked, no time judged.

use anyhow::Result;

fn main() -> Result<()> {
    tidewatch_bench::w1::smoke::smoke(std::env::var("TIDEWATCH_TEST_KAFKA").ok().as_deref())
}
