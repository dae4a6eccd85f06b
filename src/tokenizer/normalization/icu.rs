//! The tables of ICU4X.

use icu_normalizer::{
    ComposingNormalizerBorrowed as Composing, DecomposingNormalizerBorrowed as Decomposing,
};
use icu_properties::CodePointMapData;
use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};

use super::Form;

pub fn normalized(text: &str, form: Form) -> String {
    let normalized = match form {
        Form::Nfc => Composing::new_nfc().normalize(text),
        Form::Nfd => Decomposing::new_nfd().normalize(text),
        Form::Nfkc => Composing::new_nfkc().normalize(text),
        Form::Nfkd => Decomposing::new_nfkd().normalize(text),
    };
    normalized.into_owned()
}

/// Whether a character is of the general category Mark.
pub fn is_combining_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}
