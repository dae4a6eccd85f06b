//! The fields of an `adapter_config.json` that is written.
//! Not which fields there are, which each kind of adapter says.

use super::json::Json;
use super::names::Names;
use super::pattern::ModulePattern;
use super::selection::Selection;

/// By name, as PEFT writes them. Fields that would hold PEFT's default are left out, for older PEFTs
/// refuse fields they do not know.
#[derive(Default)]
pub(crate) struct Written(Vec<(String, Json)>);

impl Written {
    /// A field whatever it holds.
    pub(crate) fn always(&mut self, name: &str, value: Json) {
        let at = self.0.partition_point(|(before, _)| before.as_str() < name);
        self.0.insert(at, (name.to_owned(), value));
    }

    /// A field unless it is null, false or empty.
    pub(crate) fn add(&mut self, name: &str, value: Json) {
        if !value.is_unset() {
            self.always(name, value);
        }
    }

    /// The fields that say which modules are adapted.
    pub(crate) fn selection(&mut self, selection: &Selection) {
        self.always("target_modules", Json::from(&selection.target));
        self.add("exclude_modules", selection.exclude.as_ref().map_or(Json::Null, Json::from));
        if let Some(layers) = &selection.layers {
            let indices = layers.indices.iter().map(|&index| Json::Number(index as f64)).collect();
            self.add("layers_to_transform", Json::List(indices));
            self.add("layers_pattern", Json::from(layers.texts.as_slice()));
        }
    }

    /// Values by the patterns of modules that have them.
    pub(crate) fn patterns<V>(
        &mut self,
        name: &str,
        patterns: &[(ModulePattern, V)],
        value: impl Fn(&V) -> Json,
    ) {
        let entry = |(pattern, v): &(ModulePattern, V)| (pattern.text().to_owned(), value(v));
        self.add(name, Json::Object(patterns.iter().map(entry).collect()));
    }

    /// The file, ending in a line break.
    pub(crate) fn into_json(self) -> String {
        // Nothing in it can fail to be written: keys are strings and numbers finite.
        serde_json::to_string_pretty(&Json::Object(self.0)).unwrap_or_default() + "\n"
    }
}

impl From<&Names> for Json {
    fn from(names: &Names) -> Self {
        match names {
            Names::List(names) => Self::from(names.as_slice()),
            Names::Pattern(pattern) => Self::from(pattern.text()),
            Names::AllLinear => Self::from("all-linear"),
        }
    }
}
