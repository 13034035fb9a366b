//! From text to a [`Recipe`]: every complaint has a place, and the nearest name where one is unknown.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use serde_json::Value as Json;
use thiserror::Error;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::Recipe;
use crate::source::nearest::suggestion;

/// What is wrong with a recipe, where, and how to mend it.
#[derive(Debug, Error, PartialEq)]
#[error("{place}: {problem}")]
pub struct RecipeError {
    /// The file, line and column, or the flag.
    pub place: String,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

/// A recipe's text, and where it comes from. Later layers win.
#[derive(Clone, Debug)]
pub struct Layer {
    name: String,
    text: String,
    /// Whether lines and columns mean something to the user.
    placed: bool,
}

impl Layer {
    /// The text of a file.
    pub fn file(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            placed: true,
        }
    }

    /// `key=value`, of a flag; what is no TOML value is text.
    pub fn set(assignment: &str) -> Self {
        let (key, value) = assignment.split_once('=').unwrap_or((assignment, ""));
        let plain = format!("{key} = {value}");
        let text = match plain.parse::<Table>() {
            Ok(_) => plain,
            Err(_) => format!("{key} = {}", Value::from(value)),
        };
        Self {
            name: format!("--set {assignment}"),
            text,
            placed: false,
        }
    }

    /// An assignment that a flag stands for.
    pub fn flag(name: &str, text: &str) -> Self {
        Self {
            name: name.into(),
            text: text.into(),
            placed: false,
        }
    }

    fn error(&self, at: Option<Range<usize>>, problem: impl Into<String>) -> RecipeError {
        let place = match at.filter(|_| self.placed) {
            Some(span) => {
                let before = self.text.get(..span.start).unwrap_or(&self.text);
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                format!("{}: line {line}, column {column}", self.name)
            }
            None => self.name.clone(),
        };
        RecipeError {
            place,
            problem: problem.into(),
        }
    }

    /// The table, if all of its keys are known and all of its values of their kind.
    fn table(&self, schema: &Json) -> Result<Table, RecipeError> {
        let syntax = |error: toml::de::Error| self.error(error.span(), error.message().to_owned());
        let spanned = DeTable::parse(&self.text).map_err(syntax)?;
        self.check_keys(spanned.get_ref(), schema, schema, "")?;
        let recipe: Recipe = toml::from_str(&self.text).map_err(syntax)?;
        if let Err((path, problem)) = recipe.check() {
            return Err(self.error(span_of(spanned.get_ref(), &path), format!("`{path}`: {problem}")));
        }
        self.text.parse().map_err(syntax)
    }

    fn check_keys(&self, table: &DeTable<'_>, schema: &Json, root: &Json, within: &str) -> Result<(), RecipeError> {
        let schema = resolve(schema, root);
        let Some(known) = schema["properties"].as_object() else {
            return Ok(());
        };
        for (key, value) in table {
            let name: &str = key.get_ref();
            let Some(schema) = known.get(name) else {
                let near = suggestion(name, known.keys().map(String::as_str));
                let place = match within {
                    "" => String::new(),
                    within => format!(" in [{within}]"),
                };
                return Err(self.error(
                    Some(key.span()),
                    format!(
                        "there is no key `{}`{place}{near}; see `secateur recipe schema`",
                        name.escape_debug()
                    ),
                ));
            };
            match value.get_ref() {
                DeValue::Table(table) => self.check_keys(table, schema, root, name)?,
                DeValue::Array(array) => {
                    let items = &resolve(schema, root)["items"];
                    for item in array.iter().filter_map(|item| item.get_ref().as_table()) {
                        self.check_keys(item, items, root, name)?;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Follows references, and sees through "this or null".
fn resolve<'s>(schema: &'s Json, root: &'s Json) -> &'s Json {
    if let Some(path) = schema["$ref"].as_str() {
        return root.pointer(path.trim_start_matches('#')).unwrap_or(schema);
    }
    let choices = schema["anyOf"].as_array();
    match choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null")) {
        Some(choice) => resolve(choice, root),
        None => schema,
    }
}

/// Where a dotted path is, or what comes nearest to holding it; indices count the tables of an array.
fn span_of(table: &DeTable<'_>, path: &str) -> Option<Range<usize>> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let value = table.iter().find(|(key, _)| key.get_ref() == first)?.1;
    let inner = |value: &Spanned<DeValue<'_>>, rest: &str| match value.get_ref() {
        DeValue::Table(table) if !rest.is_empty() => span_of(table, rest),
        _ => None,
    };
    match value.get_ref() {
        DeValue::Array(array) if !rest.is_empty() => {
            let (index, rest) = rest.split_once('.').unwrap_or((rest, ""));
            let item = array.get(index.parse::<usize>().ok()?)?;
            inner(item, rest).or_else(|| Some(item.span()))
        }
        _ => inner(value, rest).or_else(|| Some(value.span())),
    }
}

/// Whether a dotted path has a value.
fn holds(table: &Table, path: &str) -> bool {
    let mut parts = path.split('.');
    let mut value = parts.next().and_then(|part| table.get(part));
    for part in parts {
        value = value.and_then(|value| match value {
            Value::Table(table) => table.get(part),
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            _ => None,
        });
    }
    value.is_some()
}

/// Reads a recipe from layers.
///
/// # Errors
/// A [`RecipeError`] for the first key or value that is wrong.
pub fn parse(layers: &[Layer]) -> Result<Recipe, RecipeError> {
    let schema = schema();
    let mut merged = Table::new();
    for layer in layers {
        merge(&mut merged, layer.table(&schema)?);
    }
    let wrong = |problem: String| RecipeError {
        place: layers.last().map_or_else(String::new, |layer| layer.name.clone()),
        problem,
    };
    let recipe = Recipe::deserialize(Value::Table(merged)).map_err(|error| wrong(error.message().to_owned()))?;
    recipe
        .check()
        .map_err(|(path, problem)| wrong(format!("`{path}`: {problem}")))?;
    Ok(recipe)
}

/// A complaint about a key, at the place that decides its value.
pub fn complaint(layers: &[Layer], path: &str, problem: &str) -> RecipeError {
    let problem = format!("`{path}`: {problem}");
    let decides = |layer: &&Layer| layer.text.parse().is_ok_and(|table: Table| holds(&table, path));
    // What is nowhere is missing from a file, not from a flag that says something else.
    let files = layers.iter().rev().filter(|layer| layer.placed);
    let found = layers.iter().rev().filter(decides).chain(files).find_map(|layer| {
        let table = DeTable::parse(&layer.text).ok()?;
        let span = span_of(table.get_ref(), path)?;
        Some(layer.error(Some(span), problem.clone()))
    });
    found.unwrap_or(RecipeError {
        place: "the recipe".into(),
        problem,
    })
}

/// Tables are joined, all else is replaced; so is what has another name, such as a criterion with its settings.
fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(Value::Table(into)), Value::Table(from)) if into.get("name") == from.get("name") => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}

/// The JSON Schema of recipes.
pub fn schema() -> Json {
    let mut schema = schemars::schema_for!(Recipe).to_value();
    schema["title"] = "Secateur recipe".into();
    schema
}

/// What differs between two recipes: key, value of the first, value of the second.
pub fn difference(first: &Recipe, second: &Recipe) -> Vec<(String, String, String)> {
    let [first, second] = [first, second].map(|recipe| {
        let mut flat = BTreeMap::new();
        if let Ok(value) = serde_json::to_value(recipe) {
            flatten("", &value, &mut flat);
        }
        flat
    });
    let keys: std::collections::BTreeSet<&String> = first.keys().chain(second.keys()).collect();
    let value =
        |map: &BTreeMap<String, String>, key: &String| map.get(key).cloned().unwrap_or_else(|| "nothing".into());
    keys.into_iter()
        .map(|key| (key.clone(), value(&first, key), value(&second, key)))
        .filter(|(_, first, second)| first != second)
        .collect()
}

fn flatten(path: &str, value: &Json, into: &mut BTreeMap<String, String>) {
    let join = |key: &str| match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    };
    match value {
        Json::Object(table) => table.iter().for_each(|(key, value)| flatten(&join(key), value, into)),
        Json::Array(items) if items.iter().any(Json::is_object) => {
            let items = items.iter().enumerate();
            items.for_each(|(index, item)| flatten(&join(&index.to_string()), item, into));
        }
        value => {
            into.insert(path.to_owned(), value.to_string());
        }
    }
}
