//! A criterion as it was chosen: the method, and its settings; how they are written and read.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::{CriterionError, METHODS, Method, Scores, Setting, Subject, Unit, Value};
use crate::source::nearest::suggestion;

/// The setting that says in how many rounds a criterion prunes.
pub(super) const ROUNDS: &str = "rounds";

/// A method of the registry with its settings.
///
/// As text `ria` or `ria:alpha=0.7`, in recipes `"ria"` or `{ name = "ria", alpha = 0.7 }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    method: &'static Method,
    /// One per setting of the method.
    values: Vec<Value>,
}

impl Default for Criterion {
    /// Magnitude.
    fn default() -> Self {
        Self::new(&METHODS[0])
    }
}

impl Criterion {
    /// A method with its default settings.
    pub fn new(method: &'static Method) -> Self {
        Self {
            method,
            values: method.settings.iter().map(Setting::default).collect(),
        }
    }

    /// The method of that name, or alias.
    ///
    /// # Errors
    /// Says which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = |method: &&Method| method.name == name || method.aliases.contains(&name);
        METHODS.iter().find(known).map(Self::new).ok_or_else(|| {
            let near = suggestion(name, names());
            let all: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
            let name = name.escape_debug();
            format!(
                "there is no criterion `{name}`{near}; the criteria are {}",
                all.join(", ")
            )
        })
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// Says which settings or values there are.
    pub fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let settings = self.method.settings;
        let Some(index) = settings.iter().position(|setting| setting.name == key) else {
            let (name, near) = (
                self.method.name,
                suggestion(key, settings.iter().map(|setting| setting.name)),
            );
            let known: Vec<&str> = settings.iter().map(|setting| setting.name).collect();
            let known = match known.as_slice() {
                [] => "it has none".to_owned(),
                known => format!("it has {}", known.join(", ")),
            };
            let key = key.escape_debug();
            return Err(format!("the criterion `{name}` has no setting `{key}`{near}: {known}"));
        };
        self.values[index] = settings[index].read(value)?;
        Ok(())
    }

    /// The method.
    pub fn method(&self) -> &'static Method {
        self.method
    }

    /// How the scores of weights make that of a unit.
    pub fn unit(&self) -> Unit {
        self.method.unit
    }

    /// In how many rounds it prunes, each scoring what the one before has left.
    pub fn rounds(&self) -> u32 {
        match self.setting(ROUNDS) {
            Some(Value::Whole(rounds)) => rounds,
            _ => 1,
        }
    }

    /// The value of the setting of that name, if the method has it.
    pub fn setting(&self, name: &str) -> Option<Value> {
        let mut settings = self.settings();
        settings
            .find(|(setting, _)| setting.name == name)
            .map(|(_, value)| value)
    }

    pub(super) fn value(&self, setting: &Setting) -> Value {
        let mut settings = self.method.settings.iter().zip(&self.values);
        let own = settings.find(|(own, _)| own.name == setting.name);
        own.map_or(setting.default(), |(_, &value)| value)
    }

    /// A score for each weight of each layer of the subject: a vector per layer, in the layout of its weights.
    ///
    /// # Errors
    /// A [`CriterionError`]: weights or scores are not finite, or samples are missing or do not fit.
    pub fn scores(&self, subject: &Subject<'_>) -> Result<Scores, CriterionError> {
        let criterion = self.method.name;
        let finite = |scores: &[f64]| scores.iter().all(|score| score.is_finite());
        for layer in subject.layers {
            if !subject.weights(layer).iter().all(|w| w.is_finite()) {
                let layer = layer.name.clone();
                return Err(CriterionError::Weights { criterion, layer });
            }
        }
        let scores = (self.method.score)(subject, self)?;
        match subject.layers.iter().zip(&scores).find(|(_, scores)| !finite(scores)) {
            Some((layer, _)) => Err(CriterionError::Scores {
                criterion,
                layer: layer.name.clone(),
            }),
            None => Ok(scores),
        }
    }

    /// The settings, with their values.
    fn settings(&self) -> impl Iterator<Item = (&'static Setting, Value)> {
        self.method.settings.iter().zip(self.values.iter().copied())
    }
}

/// All names that are understood.
fn names() -> impl Iterator<Item = &'static str> {
    let all = METHODS
        .iter()
        .map(|method| std::iter::once(&method.name).chain(method.aliases));
    all.flatten().copied()
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.name)?;
        let changed = self.settings().filter(|(setting, value)| setting.default() != *value);
        for (index, (setting, value)) in changed.enumerate() {
            let separator = if index == 0 { ':' } else { ',' };
            write!(f, "{separator}{}=", setting.name)?;
            match value {
                Value::Real(number) => write!(f, "{number}")?,
                Value::Whole(number) => write!(f, "{number}")?,
                Value::Name(name) => f.write_str(name)?,
            }
        }
        Ok(())
    }
}

impl FromStr for Criterion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let mut criterion = Self::named(name)?;
        for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
            let usage = || format!("`{setting}` is no setting: write NAME:KEY=VALUE,KEY=VALUE");
            let (key, value) = setting.split_once('=').ok_or_else(usage)?;
            let whole = value.parse::<i64>().ok().map(toml::Value::from);
            let number = || value.parse::<f64>().ok().map(toml::Value::from);
            criterion.set(key, &whole.or_else(number).unwrap_or_else(|| value.into()))?;
        }
        Ok(criterion)
    }
}

impl Serialize for Criterion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.values.is_empty() {
            return serializer.serialize_str(self.method.name);
        }
        let mut map = serializer.serialize_map(Some(1 + self.values.len()))?;
        map.serialize_entry("name", self.method.name)?;
        for (setting, value) in self.settings() {
            map.serialize_entry(setting.name, &toml::Value::from(value))?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Criterion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// A name, so that a wrong one is found where it stands.
struct Name(Criterion);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Criterion::named(&name).map(Self).map_err(Error::custom)
    }
}

struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Criterion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a criterion's name, or a table with its name and settings")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Criterion, E> {
        Criterion::named(name).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Criterion, A::Error> {
        let (mut name, mut settings) = (None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => name = Some(map.next_value::<Name>()?.0),
                _ => settings.push((key, map.next_value::<toml::Value>()?)),
            }
        }
        let mut criterion = name.ok_or_else(|| Error::missing_field("name"))?;
        for (key, value) in settings {
            criterion.set(&key, &value).map_err(Error::custom)?;
        }
        Ok(criterion)
    }
}

impl JsonSchema for Criterion {
    fn schema_name() -> Cow<'static, str> {
        "Criterion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = names().collect();
        let mut forms = vec![json!({ "type": "string", "enum": names })];
        for method in METHODS {
            let names = std::iter::once(&method.name).chain(method.aliases).collect::<Vec<_>>();
            let mut properties = json!({ "name": { "enum": names } });
            for setting in method.settings {
                properties[setting.name] = setting.schema();
            }
            forms.push(json!({
                "type": "object", "description": method.summary, "properties": properties, "required": ["name"],
                "additionalProperties": false,
            }));
        }
        json_schema!({
            "description": "Which weights go first: a criterion's name, or a table with its name and settings.",
            "anyOf": forms,
        })
    }
}
