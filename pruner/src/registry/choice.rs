//! A method as it was chosen: which one, and its settings; how they are written and read.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;

use super::{Entry, Setting, Value};
use crate::source::nearest::suggestion;

/// A method of a registry with its settings.
///
/// As text `ria` or `ria:alpha=0.7`, in recipes `"ria"` or `{ name = "ria", alpha = 0.7 }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice<M: Entry> {
    method: &'static M,
    /// One per setting of the method.
    values: Vec<Value>,
}

impl<M: Entry> Choice<M> {
    /// A method with its default settings.
    pub fn new(method: &'static M) -> Self {
        Self {
            method,
            values: method.settings().iter().map(Setting::default).collect(),
        }
    }

    /// The method of that name, or alias.
    ///
    /// # Errors
    /// Says which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let known = |method: &&M| method.name() == name || method.aliases().contains(&name);
        M::all().iter().find(known).map(Self::new).ok_or_else(|| {
            let near = suggestion(name, M::all().iter().flat_map(names));
            let all: Vec<&str> = M::all().iter().map(M::name).collect();
            let ([one, many], name) = (M::NOUN, name.escape_debug());
            format!("there is no {one} `{name}`{near}; the {many} are {}", all.join(", "))
        })
    }

    /// Changes a setting.
    ///
    /// # Errors
    /// Says which settings or values there are.
    pub fn set(&mut self, key: &str, value: &toml::Value) -> Result<(), String> {
        let settings = self.method.settings();
        let Some(index) = settings.iter().position(|setting| setting.name == key) else {
            let (name, near) = (
                self.method.name(),
                suggestion(key, settings.iter().map(|setting| setting.name)),
            );
            let known: Vec<&str> = settings.iter().map(|setting| setting.name).collect();
            let known = match known.as_slice() {
                [] => "it has none".to_owned(),
                known => format!("it has {}", known.join(", ")),
            };
            let key = key.escape_debug();
            let one = M::NOUN[0];
            return Err(format!("the {one} `{name}` has no setting `{key}`{near}: {known}"));
        };
        self.values[index] = settings[index].read(value)?;
        Ok(())
    }

    /// The method.
    pub fn method(&self) -> &'static M {
        self.method
    }

    /// The value of the setting of that name, if the method has it.
    pub fn setting(&self, name: &str) -> Option<Value> {
        let mut settings = self.settings();
        settings
            .find(|(setting, _)| setting.name == name)
            .map(|(_, value)| value)
    }

    /// The value of a setting.
    fn value(&self, setting: &Setting) -> Value {
        self.setting(setting.name).unwrap_or(setting.default())
    }

    /// A number; NaN for names.
    pub(crate) fn real(&self, setting: &Setting) -> f64 {
        match self.value(setting) {
            Value::Real(number) => number,
            Value::Whole(number) => number.into(),
            Value::Name(_) => f64::NAN,
        }
    }

    /// A whole number.
    pub(crate) fn whole(&self, setting: &Setting) -> usize {
        self.real(setting) as usize
    }

    /// A name; empty for numbers.
    pub(crate) fn name_of(&self, setting: &Setting) -> &'static str {
        match self.value(setting) {
            Value::Name(name) => name,
            _ => "",
        }
    }

    /// The settings, with their values.
    pub(crate) fn settings(&self) -> impl Iterator<Item = (&'static Setting, Value)> {
        self.method.settings().iter().zip(self.values.iter().copied())
    }
}

/// All names of a method.
fn names<M: Entry>(method: &M) -> impl Iterator<Item = &'static str> + use<M> {
    std::iter::once(method.name()).chain(method.aliases().iter().copied())
}

impl<M: Entry> fmt::Display for Choice<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.name())?;
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

impl<M: Entry> FromStr for Choice<M> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, settings) = text.split_once(':').unwrap_or((text, ""));
        let mut chosen = Self::named(name)?;
        for setting in settings.split(',').filter(|setting| !setting.is_empty()) {
            let usage = || format!("`{setting}` is no setting: write NAME:KEY=VALUE,KEY=VALUE");
            let (key, value) = setting.split_once('=').ok_or_else(usage)?;
            let whole = value.parse::<i64>().ok().map(toml::Value::from);
            let number = || value.parse::<f64>().ok().map(toml::Value::from);
            chosen.set(key, &whole.or_else(number).unwrap_or_else(|| value.into()))?;
        }
        Ok(chosen)
    }
}

impl<M: Entry> Serialize for Choice<M> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.values.is_empty() {
            return serializer.serialize_str(self.method.name());
        }
        let mut map = serializer.serialize_map(Some(1 + self.values.len()))?;
        map.serialize_entry("name", self.method.name())?;
        for (setting, value) in self.settings() {
            map.serialize_entry(setting.name, &toml::Value::from(value))?;
        }
        map.end()
    }
}

impl<'de, M: Entry> Deserialize<'de> for Choice<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written(PhantomData))
    }
}

/// A name, so that a wrong one is found where it stands.
struct Name<M: Entry>(Choice<M>);

impl<'de, M: Entry> Deserialize<'de> for Name<M> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Choice::named(&name).map(Self).map_err(Error::custom)
    }
}

struct Written<M>(PhantomData<M>);

impl<'de, M: Entry> Visitor<'de> for Written<M> {
    type Value = Choice<M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, _] = M::NOUN;
        write!(f, "the name of a {one}, or a table with its name and settings")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Choice<M>, E> {
        Choice::named(name).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Choice<M>, A::Error> {
        let (mut name, mut settings) = (None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => name = Some(map.next_value::<Name<M>>()?.0),
                _ => settings.push((key, map.next_value::<toml::Value>()?)),
            }
        }
        let mut chosen = name.ok_or_else(|| Error::missing_field("name"))?;
        for (key, value) in settings {
            chosen.set(&key, &value).map_err(Error::custom)?;
        }
        Ok(chosen)
    }
}

impl<M: Entry> JsonSchema for Choice<M> {
    fn schema_name() -> Cow<'static, str> {
        M::SCHEMA[0].into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let all: Vec<&str> = M::all().iter().flat_map(names).collect();
        let mut forms = vec![json!({ "type": "string", "enum": all })];
        for method in M::all() {
            let mut properties = json!({ "name": { "enum": names(method).collect::<Vec<_>>() } });
            for setting in method.settings() {
                properties[setting.name] = setting.schema();
            }
            forms.push(json!({
                "type": "object", "description": method.summary(), "properties": properties, "required": ["name"],
                "additionalProperties": false,
            }));
        }
        json_schema!({ "description": M::SCHEMA[1], "anyOf": forms })
    }
}
