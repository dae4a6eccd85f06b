//! One value of a field, be it of JSON or of GGUF metadata. Not what the field means.

use serde_json::Value as Json;

use crate::format::gguf::Value;

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Field<'a> {
    Json(&'a Json),
    Gguf(&'a Value),
}

impl<'a> Field<'a> {
    pub(super) fn count(self) -> Option<usize> {
        match self {
            Self::Json(value) => value.as_u64().and_then(|count| usize::try_from(count).ok()),
            Self::Gguf(value) => value.as_count(),
        }
    }

    pub(super) fn number(self) -> Option<f64> {
        match self {
            Self::Json(value) => value.as_f64(),
            Self::Gguf(value) => value.as_float(),
        }
    }

    /// Be it written as an integer or as a float.
    pub(super) fn any_number(self) -> Option<f64> {
        match self {
            Self::Json(value) => value.as_f64(),
            Self::Gguf(value) => value.as_number(),
        }
    }

    pub(super) fn flag(self) -> Option<bool> {
        match self {
            Self::Json(value) => value.as_bool(),
            Self::Gguf(value) => value.as_bool(),
        }
    }

    pub(super) fn text(self) -> Option<&'a str> {
        match self {
            Self::Json(value) => value.as_str(),
            Self::Gguf(value) => value.as_text(),
        }
    }

    pub(super) fn is_null(self) -> bool {
        matches!(self, Self::Json(Json::Null))
    }

    /// As it stands in the file, cut where it gets long.
    pub(super) fn shown(self) -> String {
        const MOST: usize = 60;
        let text = match self {
            Self::Json(value) => value.to_string(),
            Self::Gguf(value) => value.to_string(),
        };
        match text.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
            None => text,
        }
    }
}
