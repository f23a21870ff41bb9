//! What a document says of its version's life: all that depends on the time at which it is read.

use serde_json::{Map, Value, json};

use crate::version::Stage;
use crate::version::described::Life;

/// `x-lifecycle`, the description, and whether operations are deprecated.
pub(super) fn tell(
    document: &mut Value,
    operations: &[(String, String)],
    life: &Life,
    stage: Stage,
) {
    let info = &mut document["info"];
    info["version"] = json!(life.version.to_string());
    info["x-lifecycle"] = lifecycle(life, stage);
    let told = told(life, stage);
    if !told.is_empty() {
        let said = info.get("description").and_then(Value::as_str).unwrap_or_default();
        let between = if said.is_empty() { "" } else { "\n\n" };
        info["description"] = json!(format!("{said}{between}{told}"));
    }
    if stage >= Stage::Deprecated {
        for (path, method) in operations {
            document["paths"][path.as_str()][method.as_str()]["deprecated"] = json!(true);
        }
    }
}

fn lifecycle(life: &Life, stage: Stage) -> Value {
    let mut told = Map::new();
    told.insert("stage".into(), json!(stage.as_str()));
    for (name, date) in [("deprecated", &life.deprecated), ("sunset", &life.sunset)] {
        told.insert(name.into(), json!(date.as_ref().map(|date| &date.rfc3339)));
    }
    let ends = life.deprecated.is_some() || life.sunset.is_some();
    let successor = life.successor.filter(|_| ends).map(|successor| successor.to_string());
    told.insert("successor".into(), json!(successor));
    if let Some(docs) = &life.docs {
        told.insert("docs".into(), json!(docs));
    }
    if !life.brownouts.is_empty() {
        let windows = life.brownouts.iter();
        let windows =
            windows.map(|(from, until)| json!({ "from": from.rfc3339, "until": until.rfc3339 }));
        told.insert("brownouts".into(), windows.collect());
    }
    Value::Object(told)
}

fn told(life: &Life, stage: Stage) -> String {
    let version = life.version;
    let mut told = Vec::new();
    if stage == Stage::Beta {
        told.push(format!("Version {version} is beta: it may still change."));
    }
    if let Some(deprecated) = &life.deprecated {
        let tense = if stage >= Stage::Deprecated { "has been" } else { "will be" };
        let since = if stage >= Stage::Deprecated { "since" } else { "from" };
        told.push(format!("Version {version} {tense} deprecated {since} {}.", deprecated.told));
    }
    if let Some(sunset) = &life.sunset {
        let ends = if stage == Stage::Sunset { "ended" } else { "ends" };
        let what = if told.is_empty() { format!("Version {version}") } else { "It".to_owned() };
        told.push(format!("{what} {ends} on {}: 410 from then on.", sunset.told));
    }
    for (from, until) in &life.brownouts {
        told.push(format!("It is switched off from {} until {}: 503.", from.told, until.told));
    }
    if let Some(successor) = life.successor
        && (life.deprecated.is_some() || life.sunset.is_some())
    {
        told.push(format!("Move to version {successor}."));
    }
    if let Some(docs) = &life.docs {
        told.push(format!("See <{docs}>."));
    }
    told.join(" ")
}
