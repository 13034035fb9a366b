//! Files that hold several arrays by name.

use super::error::Defect;
use super::tensor::RawTensor;

const INPUT_KEYS: &[&str] = &["images", "x", "features", "features_int8", "inputs"];
const LABEL_KEYS: &[&str] = &["labels", "y"];

/// Most names of arrays that an error message lists.
const MAX_SHOWN: usize = 16;

/// A file that holds several arrays by name.
pub(super) trait Archive {
    /// Names of the arrays.
    fn names(&self) -> Vec<String>;

    /// Reads the array of one of the names.
    fn tensor(&mut self, name: &str) -> Result<RawTensor, Defect>;

    /// The inputs: the array called `key`, else the first present of the customary names.
    fn inputs(&mut self, key: Option<&str>) -> Result<RawTensor, Defect> {
        let names = self.names();
        match choose(&names, key, INPUT_KEYS) {
            Some(name) => self.tensor(name),
            None => Err(missing("inputs", key, INPUT_KEYS, &names)),
        }
    }

    /// The labels, as [`Archive::inputs`]; `None` when no customary name is present.
    fn labels(&mut self, key: Option<&str>) -> Result<Option<RawTensor>, Defect> {
        let names = self.names();
        match choose(&names, key, LABEL_KEYS) {
            Some(name) => self.tensor(name).map(Some),
            None if key.is_none() => Ok(None),
            None => Err(missing("labels", key, LABEL_KEYS, &names)),
        }
    }

    /// The labels of a file that is there for its labels.
    fn required_labels(&mut self, key: Option<&str>) -> Result<RawTensor, Defect> {
        self.labels(key)?
            .ok_or_else(|| missing("labels", key, LABEL_KEYS, &self.names()))
    }
}

fn choose<'a>(names: &[String], key: Option<&'a str>, customary: &[&'a str]) -> Option<&'a str> {
    let present = |wanted: &&str| names.iter().any(|name| name == wanted);
    match key {
        Some(key) => Some(key).filter(present),
        None => customary.iter().copied().find(present),
    }
}

fn missing(role: &str, key: Option<&str>, customary: &[&str], names: &[String]) -> Defect {
    let wanted = match key {
        Some(key) => key.to_owned(),
        None => customary.join(", "),
    };
    // The names come from the file: quoted and only the first, they cannot flood the terminal.
    let shown = &names[..names.len().min(MAX_SHOWN)];
    Defect::new(
        format!(
            "holds no {role} ({wanted}); its {} arrays begin with {shown:?}",
            names.len()
        ),
        format!("name the array with `{role}_key` in a data.toml"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_before_customary_names() {
        let names = ["y", "x", "features"].map(str::to_owned);
        assert_eq!(choose(&names, None, INPUT_KEYS), Some("x"));
        assert_eq!(choose(&names, Some("features"), INPUT_KEYS), Some("features"));
        assert_eq!(choose(&names, Some("z"), INPUT_KEYS), None);
        let error = missing("inputs", Some("z"), INPUT_KEYS, &names);
        assert_eq!(
            error.to_string(),
            "holds no inputs (z); its 3 arrays begin with [\"y\", \"x\", \"features\"]; \
             name the array with `inputs_key` in a data.toml"
        );
    }
}
