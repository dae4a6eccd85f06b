//! Ministral 8B: Mistral, whose layers may be named one by one.

use super::{Family, llama, mistral};
use crate::error::Result;
use crate::model::blueprint::Blueprint;
use crate::model::fields::Fields;

pub(super) const FAMILY: Family =
    Family { name: "Ministral", model_type: "ministral", blueprint, ..llama::FAMILY };

fn blueprint(fields: &Fields) -> Result<Blueprint> {
    Ok(Blueprint { family: &FAMILY, ..mistral::blueprint(fields)? })
}
