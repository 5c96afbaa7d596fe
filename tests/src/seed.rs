//! Seeds: printed, so that a failure can be played again.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// A generator from `THERMOCLINE_SEED`, else from a new seed. Prints how to play it again; the test runner shows that
/// when the test fails.
///
/// # Panics
/// When `THERMOCLINE_SEED` is no number.
pub fn seed() -> StdRng {
    let seed = match std::env::var("THERMOCLINE_SEED") {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("THERMOCLINE_SEED is {text:?}, no number")),
        Err(_) => uuid::Uuid::new_v4().as_u64_pair().0,
    };
    println!("seed {seed}; to play it again: THERMOCLINE_SEED={seed} cargo test --release -p thermocline-tests");
    StdRng::seed_from_u64(seed)
}
