//! Recipes by name: no model and no data, which the command line gives.

/// A recipe that comes with the tool.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Its name.
    pub name: &'static str,
    /// The recipe, whose first comment says what it is for.
    pub text: &'static str,
}

impl Preset {
    /// What it is for.
    pub fn purpose(&self) -> &'static str {
        self.text.lines().next().unwrap_or_default().trim_start_matches("# ")
    }
}

macro_rules! presets {
    ($($name:literal),*) => {
        [$(Preset { name: $name, text: include_str!(concat!("../../assets/recipes/", $name, ".toml")) }),*]
    };
}

/// All of them.
pub const PRESETS: [Preset; 6] = presets!["one-shot", "corrected", "fine-tune", "iterative", "lottery", "gradual"];

/// The preset of that name.
pub fn preset(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|preset| preset.name == name)
}
