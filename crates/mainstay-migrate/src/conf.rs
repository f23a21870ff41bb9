//! A migration's own settings, in `<file>.conf` beside it: `V1__a.sql.conf`.

use std::collections::BTreeMap;

use crate::placeholder::Placeholders;

/// What a script's configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conf {
    /// `None` leaves it to what the statements need.
    pub(crate) in_transaction: Option<bool>,
    pub(crate) replaces: bool,
    /// The text of `shouldExecute`.
    pub(crate) should_execute: String,
}

impl Default for Conf {
    fn default() -> Self {
        Self { in_transaction: None, replaces: true, should_execute: "true".to_owned() }
    }
}

const KEYS: [&str; 4] =
    ["executeInTransaction", "placeholderReplacement", "shouldExecute", "encoding"];

impl Conf {
    /// Reads `text`: a key and a value a line, with `=` between. The error names the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut conf = Self::default();
        let mut seen = BTreeMap::new();
        for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let (n, line) = (n + 1, line.trim());
            if line.is_empty() || line.starts_with(['#', '!']) {
                continue;
            }
            let (key, value) =
                line.split_once('=').ok_or_else(|| format!("line {n} is no KEY=VALUE"))?;
            let (key, value) = (key.trim(), value.trim());
            let key = key.strip_prefix("flyway.").unwrap_or(key);
            if let Some(first) = seen.insert(key.to_owned(), n) {
                return Err(format!("line {n} sets {key}, as line {first} does"));
            }
            match key {
                "executeInTransaction" => conf.in_transaction = Some(truth(value, n)?),
                "placeholderReplacement" => conf.replaces = truth(value, n)?,
                "shouldExecute" => value.clone_into(&mut conf.should_execute),
                "encoding" if value.eq_ignore_ascii_case("utf-8") => {}
                "encoding" => return Err(format!("line {n}: files are UTF-8, not {value}")),
                _ => return Err(format!("line {n}: no key is called `{key}`{}", near(key))),
            }
        }
        Ok(conf)
    }

    /// Whether the script runs: `true`, `false`, or `A==B` and `A!=B` once placeholders are replaced,
    /// joined by `&&`, `||` and parentheses. As in Flyway, `||` binds tighter than `&&`. The error says
    /// what can't be read.
    pub(crate) fn executes(&self, values: &Placeholders) -> Result<bool, String> {
        let mut text = values.replace(&self.should_execute).map_err(|missing| {
            format!("shouldExecute names ${{{}}}, which has no value", missing.name)
        })?;
        while let Some(end) = text.find(')') {
            let unopened =
                || format!("shouldExecute is `{}`, where no `(` opens", self.should_execute);
            let begin = text[..end].rfind('(').ok_or_else(unopened)?;
            let inner = all_of(&text[begin + 1..end])?;
            text.replace_range(begin..=end, if inner { "true" } else { "false" });
        }
        all_of(&text)
    }
}

fn all_of(text: &str) -> Result<bool, String> {
    let mut all = true;
    for part in text.split("&&") {
        let mut any = false;
        for term in part.split("||") {
            any |= compare(term)?;
        }
        all &= any;
    }
    Ok(all)
}

fn compare(term: &str) -> Result<bool, String> {
    let clean = |side: &str| side.trim().trim_matches(['\'', '"']).to_owned();
    if let Some((a, b)) = term.split_once("!=") {
        return Ok(clean(a) != clean(b));
    }
    if let Some((a, b)) = term.split_once("==") {
        return Ok(clean(a) == clean(b));
    }
    let word = clean(term).to_ascii_lowercase();
    word.parse().map_err(|_| format!("shouldExecute is `{term}`, not true, false or A==B"))
}

fn truth(value: &str, line: usize) -> Result<bool, String> {
    let lower = value.to_ascii_lowercase();
    lower.parse().map_err(|_| format!("line {line}: `{value}` is neither true nor false"))
}

fn near(key: &str) -> String {
    let near = KEYS.iter().find(|k| strsim::damerau_levenshtein(k, key) <= 4);
    near.map_or_else(String::new, |k| format!("; did you mean {k}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_read() {
        let conf = Conf::parse("# c\nexecuteInTransaction=false\nplaceholderReplacement = FALSE\n");
        let conf = conf.unwrap();
        assert_eq!((conf.in_transaction, conf.replaces), (Some(false), false));
        assert_eq!(Conf::parse("").unwrap(), Conf::default());
    }

    #[test]
    fn mistakes_name_the_line() {
        for (text, why) in [
            ("\nexecuteInTransaction=no", "line 2: `no`"),
            ("executeInTransation=true", "did you mean executeInTransaction?"),
            ("encoding=ISO-8859-1", "not ISO-8859-1"),
            ("shouldExecute", "line 1"),
            ("encoding=utf-8\nencoding=UTF-8", "line 2 sets encoding, as line 1"),
        ] {
            assert!(Conf::parse(text).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn should_execute_compares() {
        let mut values = Placeholders::default();
        values.set("env", "prod");
        let executes = |text: &str| {
            Conf { should_execute: text.to_owned(), ..Conf::default() }.executes(&values)
        };
        assert_eq!(executes("${env}==prod"), Ok(true));
        assert_eq!(executes("${env} != prod || 'a'=='a' && true"), Ok(true));
        assert_eq!(executes("(${env}==prod || ${env}==stage) && a==b"), Ok(false));
        assert_eq!(executes("a==b && a==a || b==b"), Ok(false));
        assert_eq!(executes("(a==b && a==a) || b==b"), Ok(true));
        assert_eq!(executes("false"), Ok(false));
        assert!(executes("true)").is_err());
        assert!(executes("perhaps").is_err() && executes("${none}==a").is_err());
    }
}
