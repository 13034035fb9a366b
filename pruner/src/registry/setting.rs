//! The settings of a method.

/// Something about a method that can be changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Its key.
    pub name: &'static str,
    /// Its values.
    pub kind: Kind,
    /// What it does.
    pub help: &'static str,
    /// Whether the default is a decision of ours, where the paper is silent or does otherwise.
    pub ours: bool,
}

/// The values of a setting, and its default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number from a least to a greatest.
    Real(f64, [f64; 2]),
    /// A whole number from a least to a greatest.
    Whole(u32, [u32; 2]),
    /// One of some names; the first is the default.
    Name(&'static [&'static str]),
}

/// The value of a setting.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A number.
    Real(f64),
    /// A whole number.
    Whole(u32),
    /// A name.
    Name(&'static str),
}

impl Setting {
    /// What it is if nothing is said.
    pub fn default(&self) -> Value {
        match self.kind {
            Kind::Real(default, _) => Value::Real(default),
            Kind::Whole(default, _) => Value::Whole(default),
            Kind::Name(names) => Value::Name(names.first().copied().unwrap_or_default()),
        }
    }

    /// The value, if it is one of its values.
    ///
    /// # Errors
    /// What it must be.
    pub(super) fn read(&self, value: &toml::Value) -> Result<Value, String> {
        let number = value.as_float().or(value.as_integer().map(|whole| whole as f64));
        let (found, values) = match self.kind {
            Kind::Real(_, [min, max]) => {
                let found = number.filter(|number| (min..=max).contains(number));
                (found.map(Value::Real), format!("a number from {min} to {max}"))
            }
            Kind::Whole(_, [min, max]) => {
                let whole = value.as_integer().and_then(|whole| u32::try_from(whole).ok());
                let found = whole.filter(|whole| (min..=max).contains(whole));
                (found.map(Value::Whole), format!("a whole number from {min} to {max}"))
            }
            Kind::Name(names) => {
                let found = names.iter().find(|name| value.as_str() == Some(name));
                (
                    found.map(|name| Value::Name(name)),
                    format!("one of {}", names.join(", ")),
                )
            }
        };
        found.ok_or_else(|| format!("`{}` is {values}, not {value}", self.name))
    }

    /// For the JSON Schema of recipes.
    pub(super) fn schema(&self) -> serde_json::Value {
        let mut schema = match self.kind {
            Kind::Real(default, [min, max]) => {
                serde_json::json!({ "type": "number", "minimum": min, "maximum": max, "default": default })
            }
            Kind::Whole(default, [min, max]) => {
                serde_json::json!({ "type": "integer", "minimum": min, "maximum": max, "default": default })
            }
            Kind::Name(names) => serde_json::json!({ "enum": names, "default": names.first() }),
        };
        schema["description"] = self.help.into();
        schema
    }
}

impl From<Value> for toml::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Real(number) => number.into(),
            Value::Whole(number) => i64::from(number).into(),
            Value::Name(name) => name.into(),
        }
    }
}
