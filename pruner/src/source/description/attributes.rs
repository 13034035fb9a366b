//! The attributes of a node, taken one by one, so that what is left is what the operator has no use for.

use super::{Table, Text};
use crate::source::error::{Fault, shown};
use crate::source::nearest::suggestion;
use toml::{Spanned, Value};

/// A node's table while its operator reads it.
pub(super) struct Attributes<'a> {
    text: Text<'a>,
    table: Table,
    /// What the operator has asked for, to tell what it takes.
    known: Vec<&'static str>,
}

impl<'a> Attributes<'a> {
    pub(super) fn new(text: Text<'a>, table: Table) -> Self {
        Self {
            text,
            table,
            known: Vec::new(),
        }
    }

    fn take(&mut self, name: &'static str) -> Option<Spanned<Value>> {
        self.known.push(name);
        self.table.remove(name)
    }

    /// An attribute, converted by `convert`, which gives `None` for what is not `expected`.
    fn convert<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, Fault> {
        let Some(value) = self.take(name) else { return Ok(None) };
        convert(value.get_ref()).map(Some).ok_or_else(|| {
            let text = shown(&value.get_ref().to_string());
            let remedy = format!("it must be {expected}");
            Fault::unreadable(format!("attribute `{name}` is {text}"), &remedy).within(self.text.place(value.span()))
        })
    }

    /// A text.
    pub(super) fn text(&mut self, name: &'static str) -> Result<Option<String>, Fault> {
        self.convert(name, "a text in quotes", |value| value.as_str().map(str::to_owned))
    }

    /// A list of texts.
    pub(super) fn texts(&mut self, name: &'static str) -> Result<Option<Vec<String>>, Fault> {
        self.convert(name, "a list of texts in quotes", |value| {
            value
                .as_array()?
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect()
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &'static str) -> Result<Option<bool>, Fault> {
        self.convert(name, "true or false", Value::as_bool)
    }

    /// A finite number.
    pub(super) fn number(&mut self, name: &'static str) -> Result<Option<f32>, Fault> {
        self.convert(name, "a finite number", |value| {
            let number = value
                .as_float()
                .or_else(|| value.as_integer().map(|integer| integer as f64))? as f32;
            number.is_finite().then_some(number)
        })
    }

    /// A whole number that fits the type.
    pub(super) fn integer<T: TryFrom<i64>>(&mut self, name: &'static str) -> Result<Option<T>, Fault> {
        self.convert(name, "a whole number, not negative", integer)
    }

    /// A list of whole numbers.
    pub(super) fn integers<T: TryFrom<i64>>(&mut self, name: &'static str) -> Result<Option<Vec<T>>, Fault> {
        self.convert(name, "a list of whole numbers, not negative", integers)
    }

    /// One number for both axes, or `[vertical, horizontal]`.
    pub(super) fn pair(&mut self, name: &'static str) -> Result<Option<[u16; 2]>, Fault> {
        self.convert(name, "a whole number, or [vertical, horizontal]", pair)
    }

    /// One number for all sides, `[vertical, horizontal]`, or `[top, left, bottom, right]`.
    pub(super) fn sides(&mut self, name: &'static str) -> Result<Option<[u16; 4]>, Fault> {
        self.convert(
            name,
            "a whole number, [vertical, horizontal] or [top, left, bottom, right]",
            |value| {
                let sides = |[vertical, horizontal]: [u16; 2]| [vertical, horizontal, vertical, horizontal];
                pair(value).map(sides).or_else(|| integers(value)?.try_into().ok())
            },
        )
    }

    /// Refuses attributes that the operator did not ask for.
    pub(super) fn finish(self, op: &str) -> Result<(), Fault> {
        let Some((name, value)) = self.table.iter().next() else {
            return Ok(());
        };
        let near = suggestion(name, self.known.iter().copied());
        let problem = format!("{op} has no attribute {}{near}", shown(name));
        let remedy = format!("it takes {}", self.known.join(", "));
        Err(Fault::unreadable(problem, &remedy).within(self.text.place(value.span())))
    }
}

fn integer<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    T::try_from(value.as_integer()?).ok()
}

fn integers<T: TryFrom<i64>>(value: &Value) -> Option<Vec<T>> {
    value.as_array()?.iter().map(integer).collect()
}

fn pair(value: &Value) -> Option<[u16; 2]> {
    integer(value)
        .map(|both| [both; 2])
        .or_else(|| integers(value)?.try_into().ok())
}
