//! One value on its way: as the source gave it, as the target takes it, and in the form that both
//! sides are compared by.

use mainstay_db::Engine;

use super::form;
use super::kind::Kind;
use crate::checksum::hex;

/// As an engine gave it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Null,
    /// A whole number that SQLite keeps as one.
    Int(String),
    /// A number that SQLite keeps as a float.
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// How it is written in a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Number,
    Text,
    /// The text is hexadecimal.
    Bytes,
}

/// As the target takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) class: Class,
    pub(super) text: String,
    /// What is compared, where it is not the text.
    form: Option<String>,
}

impl Cell {
    fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, text: text.into(), form: None }
    }

    fn compared_by(mut self, form: impl Into<String>) -> Self {
        self.form = Some(form.into());
        self
    }

    pub(super) fn form(&self) -> &str {
        self.form.as_deref().unwrap_or(&self.text)
    }
}

/// It does not fit the column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misfit;

/// What a value goes through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// What it is to be.
    pub(super) kind: Kind,
    /// What the source's column is; from SQLite, what the value says.
    pub(super) from: Kind,
    /// The target's.
    pub(super) engine: Engine,
    /// Both sides are of one engine: what is not understood goes as it is.
    pub(super) same: bool,
}

impl Way {
    /// `raw` as the target takes it; `None` is NULL.
    pub(super) fn cell(&self, raw: Raw) -> Result<Option<Cell>, Misfit> {
        if self.loses(&raw) { Err(Misfit) } else { self.seen(raw) }
    }

    /// As [`cell`](Self::cell), of what may be in the target already: a float that has lost digits on
    /// its way is the same there as one that never had them.
    pub(super) fn seen(&self, raw: Raw) -> Result<Option<Cell>, Misfit> {
        if raw == Raw::Null {
            return Ok(None);
        }
        if self.kind == Kind::Raw {
            return Ok(Some(as_it_is(raw)));
        }
        let as_text = match &raw {
            Raw::Text(text) if self.same && self.goes_as_it_is() => Some(text.clone()),
            _ => None,
        };
        match (self.fitting(raw), as_text) {
            (Some(cell), _) => Ok(Some(cell)),
            (None, Some(text)) => Ok(Some(Cell::new(Class::Text, text))),
            (None, None) => Err(Misfit),
        }
    }

    /// Whether a float would take it as another number. Decimal digits are rounded by any float: of those
    /// only what would become infinite or zero is lost.
    fn loses(&self, raw: &Raw) -> bool {
        let Kind::Float { single } = self.kind else { return false };
        match (raw, &self.from) {
            (Raw::Real(real), _) => single && narrows(*real),
            (Raw::Int(text), _) | (Raw::Text(text), Kind::Int { .. }) => !is_whole(text, single),
            (Raw::Text(text), Kind::Float { single: false }) => {
                single && text.trim().parse().is_ok_and(narrows)
            }
            (Raw::Text(text), from) => {
                *from != Kind::Float { single: true } && leaves(text, single)
            }
            (Raw::Null | Raw::Bytes(_), _) => false,
        }
    }

    /// `infinity` for a date, `NaN` for a number, and the like.
    fn goes_as_it_is(&self) -> bool {
        use Kind::{Date, Json, Numeric, Time, Timestamp};
        matches!(self.kind, Date | Time { .. } | Timestamp { .. } | Numeric { .. } | Json)
    }

    fn fitting(&self, raw: Raw) -> Option<Cell> {
        match &self.kind {
            Kind::Bool => self.bool(raw),
            Kind::Int { min, max } => self.int(raw, *min, *max),
            Kind::Float { single } => self.float(raw, *single),
            Kind::Numeric { digits } => numeric(raw, *digits),
            Kind::Text { chars, bytes, padded } => self.text(raw, *chars, *bytes, *padded),
            Kind::Bytes { max, fixed } => self.bytes(raw, *max, *fixed),
            Kind::Date => Some(Cell::new(Class::Text, form::date(&text(raw)?)?)),
            Kind::Time { digits } => seconds(&form::time(&text(raw)?)?, *digits, ""),
            Kind::Timestamp { digits, zone } => {
                let zone = match self.engine {
                    Engine::Postgres | Engine::Sqlite if *zone => "+00:00",
                    _ => "",
                };
                seconds(&form::timestamp(&text(raw)?)?, *digits, zone)
            }
            Kind::Uuid => uuid(raw),
            Kind::Json => self.json(raw),
            Kind::Raw | Kind::Other => Some(Cell::new(Class::Text, text(raw)?)),
        }
    }

    fn bool(&self, raw: Raw) -> Option<Cell> {
        let truth = match text(raw)?.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" => true,
            "0" | "f" | "false" => false,
            _ => return None,
        };
        let form = if truth { "true" } else { "false" };
        Some(match (self.engine, truth) {
            (Engine::Postgres, _) => Cell::new(Class::Text, form),
            (_, true) => Cell::new(Class::Number, "1").compared_by(form),
            (_, false) => Cell::new(Class::Number, "0").compared_by(form),
        })
    }

    fn int(&self, raw: Raw, min: i128, max: i128) -> Option<Cell> {
        // Where a float counts on in ones.
        const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;
        let number = match raw {
            Raw::Real(real) if real.fract() == 0.0 && real.abs() <= WHOLE_MAX => real as i128,
            Raw::Real(_) => return None,
            raw => match (text(raw)?.trim(), &self.from) {
                ("true" | "t", Kind::Bool) => 1,
                ("false" | "f", Kind::Bool) => 0,
                (text, _) => text.parse::<i128>().ok()?,
            },
        };
        // SQLite makes a float of a greater one.
        let kept = self.engine != Engine::Sqlite || i64::try_from(number).is_ok();
        let fits = kept && (min..=max).contains(&number);
        fits.then(|| Cell::new(Class::Number, number.to_string()))
    }

    fn float(&self, raw: Raw, single: bool) -> Option<Cell> {
        let form = form::float(&text(raw)?, single)?;
        match (form.as_str(), self.engine) {
            ("NaN" | "inf" | "-inf", Engine::MySql) | ("NaN", Engine::Sqlite) => None,
            ("inf", Engine::Sqlite) => Some(Cell::new(Class::Number, "9e999").compared_by(form)),
            ("-inf", Engine::Sqlite) => Some(Cell::new(Class::Number, "-9e999").compared_by(form)),
            ("inf", Engine::Postgres) => Some(Cell::new(Class::Text, "Infinity").compared_by(form)),
            ("-inf", Engine::Postgres) => {
                Some(Cell::new(Class::Text, "-Infinity").compared_by(form))
            }
            _ => Some(Cell::new(Class::Number, form)),
        }
    }

    fn text(
        &self,
        raw: Raw,
        chars: Option<usize>,
        bytes: Option<usize>,
        padded: bool,
    ) -> Option<Cell> {
        let mut text = text(raw)?;
        if padded {
            text.truncate(text.trim_end_matches(' ').len());
        }
        let fits = chars.is_none_or(|max| text.chars().count() <= max)
            && bytes.is_none_or(|max| text.len() <= max)
            && (self.engine != Engine::Postgres || !text.contains('\0'));
        fits.then(|| Cell::new(Class::Text, text))
    }

    fn bytes(&self, raw: Raw, max: Option<usize>, fixed: bool) -> Option<Cell> {
        let bytes = match raw {
            Raw::Bytes(bytes) => bytes,
            raw if self.from == Kind::Uuid && max == Some(16) => {
                form::from_hex(&form::uuid(&text(raw)?)?.replace('-', ""))?
            }
            raw => text(raw)?.into_bytes(),
        };
        // What is shorter than a fixed length would be filled up with zeros.
        let fits = max.is_none_or(|max| bytes.len() <= max && (!fixed || bytes.len() == max));
        fits.then(|| Cell::new(Class::Bytes, hex(&bytes)))
    }

    fn json(&self, raw: Raw) -> Option<Cell> {
        let text = text(raw)?;
        let form = form::json(&text)?;
        // PostgreSQL's jsonb has no NUL, however it is written.
        let fits = self.engine != Engine::Postgres || !form::json_has_nul(&form);
        fits.then(|| Cell::new(Class::Text, text).compared_by(form))
    }
}

/// From SQLite to SQLite: by what is stored, whatever the column says.
fn as_it_is(raw: Raw) -> Cell {
    match raw {
        Raw::Int(number) => {
            let form = format!("integer {number}");
            Cell::new(Class::Number, number).compared_by(form)
        }
        Raw::Real(real) => {
            // SQLite may keep -0.0 as 0.0.
            let form = format!("real {:?}", real + 0.0);
            let text = match real {
                real if real.is_infinite() && real > 0.0 => "9e999".to_owned(),
                real if real.is_infinite() => "-9e999".to_owned(),
                real => format!("{real:?}"),
            };
            Cell::new(Class::Number, text).compared_by(form)
        }
        Raw::Bytes(bytes) => {
            let text = hex(&bytes);
            let form = format!("blob {text}");
            Cell::new(Class::Bytes, text).compared_by(form)
        }
        Raw::Text(text) => {
            let form = format!("text {text}");
            Cell::new(Class::Text, text).compared_by(form)
        }
        Raw::Null => Cell::new(Class::Text, ""),
    }
}

/// As a text, if it is one or can be.
pub(super) fn text(raw: Raw) -> Option<String> {
    match raw {
        Raw::Null => None,
        Raw::Int(text) | Raw::Text(text) => Some(text),
        Raw::Real(real) => Some(real.to_string()),
        Raw::Bytes(bytes) => String::from_utf8(bytes).ok(),
    }
}

/// What is compared of a value that fits no column.
pub(super) fn unfit(raw: Raw) -> Option<String> {
    match raw {
        Raw::Bytes(bytes) => Some(format!("unfit bytes {}", hex(&bytes))),
        raw => text(raw).map(|text| format!("unfit {text}")),
    }
}

/// Whether a float of half the size is another number.
fn narrows(number: f64) -> bool {
    number.is_finite() && f64::from(number as f32).to_bits() != number.to_bits()
}

/// Whether a float holds this whole number as it is.
fn is_whole(text: &str, single: bool) -> bool {
    let Ok(number) = text.trim().parse::<i128>() else { return true };
    let float = if single { f64::from(number as f32) } else { number as f64 };
    float as i128 == number
}

/// Whether this decimal number is too large for a float, or so small that it would be zero.
fn leaves(text: &str, single: bool) -> bool {
    let Ok(number) = text.trim().parse::<f64>() else { return false };
    let number = if single { f64::from(number as f32) } else { number };
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    (number.is_infinite() && mantissa.bytes().any(|b| b.is_ascii_digit()))
        || (number == 0.0 && mantissa.bytes().any(|b| matches!(b, b'1'..=b'9')))
}

fn numeric(raw: Raw, bound: Option<(usize, usize)>) -> Option<Cell> {
    let decimal = form::decimal(&text(raw)?)?;
    if let Some((all, after)) = bound {
        let (whole, fraction) = form::digits(&decimal);
        // It would be rounded.
        if fraction > after || whole > all.saturating_sub(after) {
            return None;
        }
    }
    // Quoted: a number without quotes is a float to SQLite.
    Some(Cell::new(Class::Text, decimal))
}

/// A time with as many digits of its second as the column has.
fn seconds(time: &str, digits: usize, zone: &str) -> Option<Cell> {
    if form::second_digits(time) > digits {
        return None;
    }
    let text = format!("{}{zone}", form::with_digits(time, digits));
    Some(Cell::new(Class::Text, text).compared_by(time))
}

fn uuid(raw: Raw) -> Option<Cell> {
    let form = match raw {
        Raw::Bytes(bytes) if bytes.len() == 16 => form::uuid(&hex(&bytes))?,
        raw => form::uuid(&text(raw)?)?,
    };
    Some(Cell::new(Class::Text, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(kind: Kind) -> Way {
        Way { kind, from: Kind::Raw, engine: Engine::Postgres, same: false }
    }

    fn cell(way: &Way, raw: Raw) -> Option<String> {
        way.cell(raw).ok().flatten().map(|cell| cell.text)
    }

    fn owned(text: &str) -> Raw {
        Raw::Text(text.to_owned())
    }

    #[test]
    fn what_sqlite_holds_becomes_what_the_column_takes() {
        let bool = way(Kind::Bool);
        assert_eq!(cell(&bool, Raw::Int("1".to_owned())).as_deref(), Some("true"));
        assert_eq!(bool.cell(Raw::Int("2".to_owned())), Err(Misfit));
        assert_eq!(bool.cell(Raw::Null), Ok(None));
        let int = way(Kind::Int { min: -32768, max: 32767 });
        assert_eq!(cell(&int, Raw::Real(3.0)).as_deref(), Some("3"));
        assert_eq!(int.cell(Raw::Real(3.5)), Err(Misfit));
        assert_eq!(int.cell(owned("40000")), Err(Misfit));
        let money = way(Kind::Numeric { digits: Some((10, 2)) });
        assert_eq!(cell(&money, Raw::Real(10.1)).as_deref(), Some("10.1"));
        assert_eq!(money.cell(owned("1.005")), Err(Misfit));
        let uuid = way(Kind::Uuid);
        let text = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        assert_eq!(cell(&uuid, Raw::Bytes((0..16).collect())).as_deref(), Some(text));
    }

    #[test]
    fn times_keep_their_digits_or_are_refused() {
        let milli = way(Kind::Timestamp { digits: 3, zone: true });
        let time = cell(&milli, owned("2024-01-02T03:04:05.5Z"));
        assert_eq!(time.as_deref(), Some("2024-01-02 03:04:05.500+00:00"));
        assert_eq!(milli.cell(owned("2024-01-02 03:04:05.123456")), Err(Misfit));
        assert_eq!(milli.cell(owned("infinity")), Err(Misfit));
        let same = Way { same: true, ..milli };
        assert_eq!(cell(&same, owned("infinity")).as_deref(), Some("infinity"));
    }

    #[test]
    fn a_float_of_half_the_size_takes_only_what_it_can_hold() {
        let real = way(Kind::Float { single: true });
        assert_eq!(cell(&real, Raw::Real(0.5)).as_deref(), Some("0.5"));
        let narrow = f64::from(0.1_f32);
        assert_eq!(cell(&real, Raw::Real(narrow)).as_deref(), Some("0.1"));
        for lost in [0.1, 1e300, 1e-300] {
            assert_eq!(real.cell(Raw::Real(lost)), Err(Misfit), "{lost}");
        }
        let from_double = Way { from: Kind::Float { single: false }, ..real.clone() };
        assert_eq!(from_double.cell(owned("0.1")), Err(Misfit));
        assert_eq!(cell(&from_double, owned("Infinity")).as_deref(), Some("Infinity"));
        // What is in the target is told by its own digits.
        let seen = from_double.seen(owned("0.1")).unwrap().unwrap();
        assert_eq!(seen.form(), from_double.seen(Raw::Real(narrow)).unwrap().unwrap().form());
        let double = way(Kind::Float { single: false });
        assert_eq!(cell(&double, owned("0.1")).as_deref(), Some("0.1"));
        assert_eq!(double.cell(owned("1e400")), Err(Misfit));
        assert_eq!(double.cell(Raw::Int("9007199254740993".to_owned())), Err(Misfit));
    }

    #[test]
    fn texts_that_would_change_are_refused() {
        let short = way(Kind::Text { chars: Some(2), bytes: None, padded: false });
        assert_eq!(cell(&short, owned("äö")).as_deref(), Some("äö"));
        assert_eq!(short.cell(owned("abc")), Err(Misfit));
        assert_eq!(short.cell(owned("a\0")), Err(Misfit));
        let json = way(Kind::Json);
        let one = json.cell(owned("{\"b\": 1, \"a\": 2}")).unwrap().unwrap();
        assert_eq!(one.form(), "{\"a\":2,\"b\":1}");
        assert_eq!(json.cell(owned("\"\\u0000\"")), Err(Misfit));
        // A backslash of the text's own, and no NUL.
        assert!(json.cell(owned("\"\\\\u0000\"")).is_ok());
    }
}
