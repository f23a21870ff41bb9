//! Policies as text:
//!
//! ```text
//! [fixed | log | sliding | bucket | gcra] N/PERIOD [burst N] [open | closed | local] [lease N] [shadow]
//! concurrency N [open | closed | local] [shadow]
//! PERIOD = s | min | h | d | a number and one of ms, s, min, h, d
//! ```

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use mainstay_core::{Code, Error, Result};

use crate::policy::{OnFailure, Policy, Rule};

const ALGORITHMS: [&str; 6] = ["gcra", "fixed", "log", "sliding", "bucket", "concurrency"];
const WORDS: [&str; 6] = ["burst", "open", "closed", "local", "lease", "shadow"];
const UNITS: [(&str, u64); 9] = [
    ("ms", 1),
    ("sec", 1_000),
    ("second", 1_000),
    ("s", 1_000),
    ("min", 60_000),
    ("minute", 60_000),
    ("h", 3_600_000),
    ("hour", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Policy {
    type Err = Error;

    /// Errors: LIMIT-001, naming the word and what may stand there.
    fn from_str(text: &str) -> Result<Self> {
        read(text).map_err(|e| e.note(format!("in the policy `{text}`")))
    }
}

fn wrong(what: impl Into<String>) -> Error {
    Error::new(Code::LimitPolicy, what.into())
}

fn read(text: &str) -> Result<Policy> {
    let mut words = text.split_whitespace().peekable();
    let algorithm = match words.peek() {
        None => return Err(wrong("an empty policy")),
        Some(word) if word.starts_with(|c: char| c.is_ascii_digit()) => "gcra",
        Some(word) => {
            let known = ALGORITHMS.iter().find(|known| **known == *word);
            let known = known.ok_or_else(|| unknown("algorithm", word, &ALGORITHMS))?;
            words.next();
            known
        }
    };
    let amount = words.next().ok_or_else(|| wrong(format!("nothing after `{algorithm}`")))?;
    let mut policy = Policy::new(rule(algorithm, amount)?)?;
    while let Some(word) = words.next() {
        let mut units = || number(word, words.next());
        policy = match word {
            "burst" => {
                let burst = units()?;
                Policy { rule: Policy::new(with_burst(policy.rule, burst)?)?.rule, ..policy }
            }
            "lease" => {
                let units = units()?;
                if units > policy.limit() / 10 {
                    return Err(wrong(format!(
                        "a lease of {units} is more than a tenth of the limit"
                    ))
                    .fix(format!("write lease {} at most", policy.limit() / 10)));
                }
                policy.lease(units)
            }
            "open" => policy.on_failure(OnFailure::Open),
            "closed" => policy.on_failure(OnFailure::Closed),
            "local" => policy.on_failure(OnFailure::Local),
            "shadow" => policy.shadow(true),
            word => return Err(unknown("word", word, &WORDS)),
        };
    }
    Ok(policy)
}

fn rule(algorithm: &str, amount: &str) -> Result<Rule> {
    if algorithm == "concurrency" {
        return Ok(Rule::Concurrency { max: number(algorithm, Some(amount))? });
    }
    let (limit, per) = amount.split_once('/').ok_or_else(|| {
        wrong(format!("`{amount}` has no period")).fix(format!("write {amount}/s or {amount}/min"))
    })?;
    let (limit, per) = (number("the rate", Some(limit))?, period(per)?);
    Ok(match algorithm {
        "fixed" => Rule::FixedWindow { limit, window: per },
        "log" => Rule::SlidingLog { limit, window: per },
        "sliding" => Rule::SlidingCounter { limit, window: per },
        "bucket" => Rule::TokenBucket { capacity: limit, refill: limit, per },
        _ => Rule::Gcra { limit, per, burst: limit },
    })
}

fn with_burst(rule: Rule, burst: u32) -> Result<Rule> {
    match rule {
        Rule::Gcra { limit, per, .. } => Ok(Rule::Gcra { limit, per, burst }),
        Rule::TokenBucket { refill, per, .. } => {
            Ok(Rule::TokenBucket { capacity: burst, refill, per })
        }
        _ => {
            Err(wrong("a burst is of gcra and bucket alone")
                .fix("leave `burst` out, or choose gcra"))
        }
    }
}

fn number(what: &str, text: Option<&str>) -> Result<u32> {
    let text = text.ok_or_else(|| wrong(format!("no number after `{what}`")))?;
    let digits: String = text.chars().filter(|c| *c != '_' && *c != ',').collect();
    digits.parse().map_err(|_| {
        let fix = "write a whole number from 1 to 1000000000";
        wrong(format!("`{text}` is no number of units for {what}")).fix(fix)
    })
}

fn period(text: &str) -> Result<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = text.split_at(at);
    let count: u64 = match count {
        "" => 1,
        count => count.parse().map_err(|_| wrong(format!("`{count}` is too long a period")))?,
    };
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    let (_, ms) = known.ok_or_else(|| {
        wrong(format!("`{unit}` is no unit of time")).fix("write ms, s, min, h or d")
    })?;
    let ms =
        count.checked_mul(*ms).ok_or_else(|| wrong(format!("`{text}` is too long a period")))?;
    Ok(Duration::from_millis(ms))
}

fn unknown(what: &str, word: &str, known: &[&str]) -> Error {
    let error = wrong(format!("`{word}` is no {what} of a policy"));
    let near = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, word).total_cmp(&strsim::jaro_winkler(b, word)));
    match near {
        Some(near) if strsim::jaro_winkler(near, word) > 0.8 => {
            error.fix(format!("write `{near}`"))
        }
        _ => error.fix(format!("write one of {}", known.join(", "))),
    }
}

/// In a form that is read back as the same policy, save its name.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::FixedWindow { limit, window } => write!(f, "fixed {limit}/{}", Period(window))?,
            Rule::SlidingLog { limit, window } => write!(f, "log {limit}/{}", Period(window))?,
            Rule::SlidingCounter { limit, window } => {
                write!(f, "sliding {limit}/{}", Period(window))?;
            }
            Rule::TokenBucket { capacity, refill, per } => {
                write!(f, "bucket {refill}/{} burst {capacity}", Period(per))?;
            }
            Rule::Gcra { limit, per, burst } => {
                write!(f, "gcra {limit}/{} burst {burst}", Period(per))?;
            }
            Rule::Concurrency { max } => write!(f, "concurrency {max}")?,
        }
        match self.on_failure {
            OnFailure::Open => f.write_str(" open")?,
            OnFailure::Closed => f.write_str(" closed")?,
            OnFailure::Local => {}
        }
        if self.lease > 0 {
            write!(f, " lease {}", self.lease)?;
        }
        if self.shadow { f.write_str(" shadow") } else { Ok(()) }
    }
}

struct Period(Duration);

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis() as u64;
        let short = [("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];
        let (unit, of) =
            short.into_iter().find(|(_, of)| ms.is_multiple_of(*of)).unwrap_or(("ms", 1));
        match ms / of {
            1 => f.write_str(unit),
            count => write!(f, "{count}{unit}"),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Policy {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(from)?;
        text.parse().map_err(|e: Error| serde::de::Error::custom(e.report()))
    }
}

impl serde::Serialize for Policy {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for (text, printed) in [
            ("100/min burst 20", "gcra 100/min burst 20"),
            ("10/s", "gcra 10/s burst 10"),
            ("fixed 1_000/h closed", "fixed 1000/h closed"),
            ("log 5/10s", "log 5/10s"),
            ("sliding 100/60s shadow", "sliding 100/min shadow"),
            ("bucket 10/s burst 50 open", "bucket 10/s burst 50 open"),
            ("1000/s lease 50", "gcra 1000/s burst 1000 lease 50"),
            ("concurrency 20", "concurrency 20"),
        ] {
            let policy: Policy = text.parse().unwrap();
            assert_eq!(policy.to_string(), printed, "{text}");
            assert_eq!(printed.parse::<Policy>().unwrap(), policy, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, named) in [
            ("", "empty"),
            ("0/s", "0 units"),
            ("99999999999/s", "`99999999999`"),
            ("2000000000/s", "2000000000"),
            ("100", "no period"),
            ("100/fortnight", "`fortnight`"),
            ("gcar 1/s", "write `gcra`"),
            ("1/s brust 3", "write `burst`"),
            ("fixed 1/s burst 3", "gcra and bucket"),
            ("sliding 4000001/s", "4000000"),
            ("1/h burst 1000000", "ten years"),
            ("10/s lease 5", "a tenth"),
            ("1/99999999999999999999d", "too long"),
            ("1/400d", "366 days"),
        ] {
            let error = text.parse::<Policy>().unwrap_err();
            assert_eq!(error.code(), Code::LimitPolicy, "{text}");
            assert!(error.report().contains(named), "{text}: {}", error.report());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = text.parse::<Policy>();
        }

        #[test]
        fn a_period_is_read_back(ms in 1u64..366 * 86_400_000) {
            let text = Period(Duration::from_millis(ms)).to_string();
            prop_assert_eq!(period(&text).unwrap(), Duration::from_millis(ms));
        }
    }
}
