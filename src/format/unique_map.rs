//! JSON objects in which a key may appear once.
//! Not a `serde_json::Map`: that keeps the last of two equal keys and says nothing.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

/// Key to value; a repeated key is an error that names it.
#[derive(Debug)]
pub(super) struct UniqueMap<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

struct UniqueVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueVisitor<V> {
    type Value = UniqueMap<V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        let mut map = BTreeMap::new();
        each_entry(entries, |key, entries| {
            let value = entries.next_value().map_err(|e| A::Error::custom(format_args!("`{key}`: {e}")))?;
            map.insert(key.to_owned(), value);
            Ok(())
        })?;
        Ok(UniqueMap(map))
    }
}

/// Has `read` take the value of each key, in the file's order. A repeated key is an error that names it.
pub(super) fn each_entry<'de, A: MapAccess<'de>>(
    mut entries: A,
    mut read: impl FnMut(&str, &mut A) -> Result<(), A::Error>,
) -> Result<(), A::Error> {
    let mut seen = HashSet::new();
    while let Some(key) = entries.next_key::<String>()? {
        read(&key, &mut entries)?;
        if let Some(key) = seen.replace(key) {
            return Err(A::Error::custom(format_args!("`{key}` appears twice")));
        }
    }
    Ok(())
}
