//! A whole relay with its peers in virtual time, each choice from one seed: encoders, players, services that decide, the
//! control plane, a network and a kernel that do what they may do. What each player gets is checked frame by frame, and
//! no peer waits longer than its deadline, and at the end all has been given back.
//!
//! A run that fails names its seed: `FANFARE_SEED=… cargo test --test simulator replay -- --nocapture` runs it again, and
//! prints what happened.

#[path = "../support/world.rs"]
mod world;

mod camera;
mod control;
mod flv;
mod ledger;
mod pipe;
mod player;
mod random;
mod rights;
mod rules;
mod run;
mod setup;
mod sockets;
mod stage;
mod stranger;
mod view;

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Seeds that are always run, the same ones: a test does not fail by chance. New ones are `loadtest/simulate.sh`'s.
const SEEDS: u64 = 300;
/// And those that have found something.
const FOUND: [u64; 16] = [
    1_097,
    5_049,
    1_795_658_326_718_399_711,
    1_795_658_326_750_327_230,
    1_795_658_657_632_981_724,
    1_795_658_657_631_997_421,
    1_795_658_766_574_444_355,
    1_795_659_028_992_851_031,
    1_795_660_032_708_763_153,
    1_795_662_562_098_329_644,
    1_795_664_154_431_268_419,
    1_795_664_557_286_292_113,
    1_795_665_362_220_232_098,
    1_795_665_584_604_928_693,
    1_795_665_584_604_928_814,
    1_795_666_087_919_365_639,
];

#[test]
fn each_run_ends_well() {
    let next = AtomicUsize::new(0);
    let seeds: Vec<u64> = FOUND.into_iter().chain(0..SEEDS).collect();
    all_at_once(|| {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Relaxed)) {
            try_seed(seed);
        }
    });
}

#[test]
fn the_same_seed_is_the_same_run_byte_for_byte() {
    for seed in 0..10 {
        let outcome = || run::run(seed, true);
        let (first, second) = (outcome(), outcome());
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.digest, second.digest, "seed {seed}");
    }
}

/// Runs the one seed in FANFARE_SEED.
#[test]
fn replay() {
    let Ok(seed) = std::env::var("FANFARE_SEED") else { return };
    let seed = seed.parse().expect("FANFARE_SEED is a number");
    let outcome = run::run(seed, true);
    say(&outcome.trace.unwrap_or_default());
    say(&format!("seed {seed} ends well: {:016x}\n", outcome.digest));
}

/// For FANFARE_SECONDS: `loadtest/simulate.sh`.
#[test]
fn run_for_some_time() {
    let Ok(seconds) = std::env::var("FANFARE_SECONDS") else { return };
    let end = Instant::now() + Duration::from_secs(seconds.parse().expect("FANFARE_SECONDS is a number"));
    let new = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_nanos() as u64;
    let first =
        std::env::var("FANFARE_SEED").map_or(new, |seed| seed.parse().expect("FANFARE_SEED is a number"));
    let mut seed = first;
    while Instant::now() < end {
        try_seed(seed);
        seed = seed.wrapping_add(1);
    }
    say(&format!("seeds: {}\n", seed.wrapping_sub(first)));
}

fn try_seed(seed: u64) {
    if catch_unwind(AssertUnwindSafe(|| run::run(seed, false))).is_err() {
        panic!("seed {seed}: FANFARE_SEED={seed} cargo test --test simulator replay -- --nocapture");
    }
}

fn all_at_once(work: impl Fn() + Sync) {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        (0..threads).for_each(|_| {
            scope.spawn(&work);
        });
    });
}

/// Straight to standard error: the test harness captures what `eprint!` writes.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
