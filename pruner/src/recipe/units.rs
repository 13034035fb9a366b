//! Values with units, and values that have a text form of their own.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::mask::Pattern;
use crate::schedule::Retraining;
use crate::train::Shape;

/// A stretch of a training: `10ep` or `500it`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Length {
    /// Epochs.
    Epochs(u64),
    /// Steps.
    Steps(u64),
}

impl Length {
    /// In steps, of which an epoch has so many.
    pub fn steps(self, per_epoch: u64) -> u64 {
        match self {
            Self::Epochs(epochs) => epochs.saturating_mul(per_epoch),
            Self::Steps(steps) => steps,
        }
    }
}

impl FromStr for Length {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |unit| text.strip_suffix(unit).and_then(|number: &str| number.parse().ok());
        let length = number("ep").map(Self::Epochs).or_else(|| number("it").map(Self::Steps));
        length.ok_or_else(|| format!("`{text}` is no length: write epochs as \"10ep\", steps as \"500it\""))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(epochs) => write!(f, "{epochs}ep"),
            Self::Steps(steps) => write!(f, "{steps}it"),
        }
    }
}

/// Percentage points: `0.5pp`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Points(f64);

impl Points {
    /// As a fraction: 0.5 points are 0.005.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Points {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix("pp").and_then(|number| number.parse().ok());
        number
            .filter(|number: &f64| (0.0..=100.0).contains(number))
            .map(Self)
            .ok_or_else(|| format!("`{text}` are no percentage points: write \"0.5pp\""))
    }
}

impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}pp", self.0)
    }
}

/// A [`Pattern`] as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PatternText(pub Pattern);

impl Default for PatternText {
    fn default() -> Self {
        Self(Pattern::Unstructured)
    }
}

impl FromStr for PatternText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl fmt::Display for PatternText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a learning rate goes: by a shape, or as retraining schedules do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rate {
    /// As in any training.
    Shape(Shape),
    /// As after pruning.
    Retraining(Retraining),
}

const RETRAINING: [(&str, Retraining); 6] = [
    ("ft", Retraining::Ft),
    ("lrw", Retraining::Lrw),
    ("slr", Retraining::Slr),
    ("clr", Retraining::Clr),
    ("llr", Retraining::Llr),
    ("allr", Retraining::Allr),
];

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match RETRAINING.iter().find(|(name, _)| *name == text) {
            Some(&(_, retraining)) => Ok(Self::Retraining(retraining)),
            None => {
                let known = "; after pruning also ft, lrw, slr, clr, llr, allr";
                text.parse().map(Self::Shape).map_err(|error: String| error + known)
            }
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(shape) => shape.fmt(f),
            Self::Retraining(retraining) => {
                let known = RETRAINING.iter().find(|(_, known)| known == retraining);
                f.write_str(known.map_or("", |(name, _)| name))
            }
        }
    }
}

/// Text to and from serde, and the form that a schema can check.
macro_rules! text {
    ($($type:ident: $pattern:expr;)*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    )*};
}

text! {
    Length: "^[0-9]+(ep|it)$";
    Points: "^[0-9]+(\\.[0-9]+)?pp$";
    PatternText: "^(unstructured|kernel|[0-9]+:[0-9]+|(1|2|4|8|16)x(1|2|4|8|16))$";
    Rate: "^(ft|lrw|slr|clr|llr|allr|constant|linear|cosine|one-cycle|step:[0-9]+,[0-9.e-]+|multi-step:([0-9]+,)+[0-9.e-]+)$";
}
