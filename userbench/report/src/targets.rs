// SPDX-License-Identifier: GPL-2.0

//! What parcall is to achieve, and whether it does.

use crate::{
    data::{Data, Pair, break_even},
    interval::Interval,
    overhead::OFF_MAX,
};
use std::fmt;

/// A gain that there should be at least.
struct Target {
    bench: &'static str,
    megabytes: Option<u64>,
    workers: Option<u64>,
    simulated: bool,
    gain: f64,
}

const fn simulated(bench: &'static str, workers: u64, gain: f64) -> Target {
    Target {
        bench,
        megabytes: Some(256),
        workers: Some(workers),
        simulated: true,
        gain,
    }
}

const fn program(bench: &'static str, gain: f64) -> Target {
    Target {
        bench,
        megabytes: None,
        workers: None,
        simulated: false,
        gain,
    }
}

const TARGETS: &[Target] = &[
    simulated("fork", 2, 1.95),
    simulated("fork", 4, 3.8),
    simulated("fork", 8, 7.3),
    simulated("fork", 16, 13.0),
    simulated("read", 8, 6.5),
    simulated("populate", 8, 6.0),
    simulated("unmap", 8, 4.0),
    // A pause of 0.6 times the serial one.
    program("redis fork", 1.0 / 0.6),
    program("redis during p99.9", 1.0),
    program("redis after p99.9", 1.0),
    // What has nothing to gain must not lose.
    program("redis no-save p50", 0.99),
    program("shell", 0.99),
    program("small-forks", 0.99),
    program("small-io", 0.99),
];

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Met,
    Missed,
    /// It may be either: what was measured varies more than that.
    Unsure,
    NotMeasured,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Unsure => "not known: the interval has both",
            Self::NotMeasured => "not measured",
        })
    }
}

impl Verdict {
    /// Whether a gain is at least what it should be.
    fn at_least(gain: Interval, least: f64) -> Self {
        if gain.low >= least {
            Self::Met
        } else if gain.high < least {
            Self::Missed
        } else {
            Self::Unsure
        }
    }
}

/// What, how much, how much it is to be, and the verdict.
pub struct Line {
    pub what: String,
    pub target: String,
    pub measured: String,
    pub verdict: Verdict,
}

impl Target {
    fn is_for(&self, pair: &Pair) -> bool {
        pair.bench() == self.bench
            && pair.is_simulated() == self.simulated
            && self.megabytes.is_none_or(|mb| pair.size().0 == mb << 20)
            && self.workers.is_none_or(|workers| pair.workers() == workers)
    }

    fn judge(&self, data: &Data) -> Line {
        let pair = data.pairs.iter().find(|pair| self.is_for(pair));
        let mut what = self.bench.to_string();
        if let Some(megabytes) = self.megabytes {
            what += &format!(" {megabytes}M");
        }
        if let Some(workers) = self.workers {
            what += &format!(", {workers} workers");
        }
        if self.simulated {
            what += ", simulated cores";
        }
        Line {
            what,
            target: format!("≥ {:.2}", self.gain),
            measured: pair.map_or("-".into(), |pair| pair.gain.to_string()),
            verdict: pair.map_or(Verdict::NotMeasured, |pair| {
                Verdict::at_least(pair.gain, self.gain)
            }),
        }
    }
}

/// All targets.
pub fn judge(data: &Data) -> Vec<Line> {
    let mut lines: Vec<_> = TARGETS.iter().map(|target| target.judge(data)).collect();
    lines.extend(data.overhead.iter().map(|overhead| {
        let worst = overhead
            .calls
            .iter()
            .max_by(|one, other| one.off_percent().total_cmp(&other.off_percent()));
        Line {
            what: "instructions of small calls, switched off".into(),
            target: format!("≤ {OFF_MAX} % more"),
            measured: worst.map_or("-".into(), |call| {
                format!("{:+.2} % at most ({})", call.off_percent(), call.call)
            }),
            verdict: match overhead.too_much()[..] {
                [] => Verdict::Met,
                _ => Verdict::Missed,
            },
        }
    }));
    lines.extend(thresholds(data));
    lines
}

/// Whether the policy splits from the size on where it begins to pay, or that before or after. Figures
/// are of one boot, variant and width.
fn thresholds(data: &Data) -> Vec<Line> {
    groups(data)
        .into_iter()
        .filter(|pairs| pairs[0].machine().vcpus > 1)
        .map(|pairs| {
            let best = pairs
                .iter()
                .position(|pair| Some(pair.size()) == break_even(pairs.iter().copied()));
            let chosen = pairs
                .iter()
                .position(|pair| pair.policy_splits == Some(true));
            let name = |index: Option<usize>| {
                index.map_or("no size".into(), |index| pairs[index].size().to_string())
            };
            // One that is beyond the largest size is next to it.
            let step = |index: Option<usize>| index.unwrap_or(pairs.len());
            let verdict = if step(best).abs_diff(step(chosen)) <= 1 {
                Verdict::Met
            } else {
                Verdict::Missed
            };
            let pair = pairs[0];
            let boot = &data.boots[pair.boot].boot;
            let variant = pair.variant.as_deref().unwrap_or_default();
            Line {
                what: format!(
                    "{} {variant}, {} workers, {boot}: splits from",
                    pair.bench(),
                    pair.workers()
                )
                .replace(" ,", ","),
                target: format!("{} ± a step", name(best)),
                measured: name(chosen),
                verdict,
            }
        })
        .collect()
}

/// The figures of paths, by size: one group for each benchmark, variant, boot and width.
pub fn groups(data: &Data) -> Vec<Vec<&Pair>> {
    let mut groups: Vec<Vec<&Pair>> = Vec::new();
    for pair in data.pairs.iter().filter(|pair| pair.variant.is_some()) {
        let key = |pair: &Pair| {
            (
                pair.boot,
                pair.bench().to_string(),
                pair.variant.clone(),
                pair.workers(),
            )
        };
        match groups.iter_mut().find(|group| key(group[0]) == key(pair)) {
            Some(group) => group.push(pair),
            None => groups.push(vec![pair]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::tests::forks, overhead::tests::overhead};

    fn verdict(lines: &[Line], what: &str) -> Verdict {
        let line = lines.iter().find(|line| line.what.starts_with(what));
        line.expect(what).verdict
    }

    #[test]
    fn a_gain_is_met_missed_or_unsure() {
        let judge = |low, high| {
            let value = (low + high) / 2.0;
            Verdict::at_least(Interval { value, low, high }, 2.0)
        };
        assert_eq!(judge(2.0, 2.2), Verdict::Met);
        assert_eq!(judge(1.9, 1.99), Verdict::Missed);
        assert_eq!(judge(1.9, 2.2), Verdict::Unsure);
    }

    #[test]
    fn what_is_missing_was_not_measured() {
        let lines = judge(&forks(&[(256, 500)]));
        // That is on a machine of two CPUs, not simulated ones.
        assert_eq!(
            verdict(&lines, "fork 256M, 2 workers"),
            Verdict::NotMeasured
        );
        assert_eq!(verdict(&lines, "redis fork"), Verdict::NotMeasured);
    }

    #[test]
    fn simulated_cores_are_judged() {
        let mut data = forks(&[(256, 500)]);
        data.pairs[0].serial.record.machine.accel = "sim".into();
        assert_eq!(verdict(&judge(&data), "fork 256M, 2 workers"), Verdict::Met);
    }

    #[test]
    fn off_costs_no_more_than_allowed() {
        let mut data = forks(&[(1, 1000)]);
        for (off, expected) in [(1005, Verdict::Met), (1006, Verdict::Missed)] {
            data.overhead = Some(overhead(off));
            assert_eq!(verdict(&judge(&data), "instructions"), expected);
        }
    }

    #[test]
    fn thresholds_are_within_a_step() {
        // The policy splits from 16M on.
        let of = |times: &[(u64, u64)]| verdict(&judge(&forks(times)), "fork, 2 workers");
        assert_eq!(
            of(&[(1, 999), (4, 999), (16, 500), (64, 500)]),
            Verdict::Met
        );
        assert_eq!(
            of(&[(1, 999), (4, 500), (16, 500), (64, 500)]),
            Verdict::Met
        );
        assert_eq!(
            of(&[(1, 500), (4, 500), (16, 500), (64, 500)]),
            Verdict::Missed
        );
        assert_eq!(
            of(&[(1, 999), (4, 999), (16, 999), (64, 500)]),
            Verdict::Met
        );
        assert_eq!(
            of(&[(1, 999), (4, 999), (16, 999), (64, 999)]),
            Verdict::Missed
        );
    }
}
