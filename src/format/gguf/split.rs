//! Models in several GGUF files, as llama.cpp's `gguf-split` writes them: the first has the metadata, each some
//! tensors. Not the reading of the files: they count as one, each behind the one before it.

use std::collections::BTreeSet;

use super::{Header, Value};
use crate::error::{Error, Result};

const NO_KEY: &str = "split.no";
const COUNT_KEY: &str = "split.count";
const TENSORS_KEY: &str = "split.tensors.count";

impl Header {
    /// How many files the model is in.
    ///
    /// Errors with `Format` if the metadata tell no count.
    fn files(&self) -> Result<usize> {
        Ok(self.count(COUNT_KEY)?.unwrap_or(1).max(1))
    }

    /// The header of all parts of a model, each with its file's bytes, in their order; the tensors lie as if the files
    /// lay one behind the other.
    ///
    /// Errors with `Mismatch` for a part of another model, of another place or that is missing, `Format` for metadata of
    /// another type.
    pub fn joined(parts: Vec<(Self, u64)>) -> Result<Self> {
        let n = parts.len();
        let mut base = 0u64;
        let mut joined: Option<Self> = None;
        let mut names = BTreeSet::new();
        for (i, (mut header, bytes)) in parts.into_iter().enumerate() {
            let wrong = |what: String| Err(Error::mismatch(format!("GGUF file {} of {n}: {what}", i + 1)));
            let (no, count) = (header.count(NO_KEY)?.unwrap_or(0), header.files()?);
            if count != n {
                return wrong(format!(
                    "one of the {count} files of a model, expected one of {n}: parts are found by their names, `…-00001-of-{count:05}.gguf`"
                ));
            }
            if no != i {
                return wrong(format!("part {} of its model, expected part {}", no + 1, i + 1));
            }
            for tensor in &mut header.tensors {
                let shifted = [tensor.start, tensor.end].map(|at| at.checked_add(base));
                let [Some(start), Some(end)] = shifted else { return wrong("too large".to_owned()) };
                (tensor.start, tensor.end) = (start, end);
                if !names.insert(tensor.name.clone()) {
                    return wrong(format!("tensor `{}` is in another part, too", tensor.name));
                }
            }
            base = base.saturating_add(bytes);
            match &mut joined {
                None => joined = Some(header),
                Some(first) => {
                    if first.count(TENSORS_KEY)? != header.count(TENSORS_KEY)? {
                        return wrong("of another model than the first".to_owned());
                    }
                    first.tensors.extend(header.tensors);
                }
            }
        }
        let mut joined = joined.ok_or_else(|| Error::argument("no GGUF file"))?;
        if let Some(all) = joined.count(TENSORS_KEY)?.filter(|&all| n > 1 && all != joined.tensors.len()) {
            let has = joined.tensors.len();
            return Err(Error::mismatch(format!("GGUF files: {has} tensors in all {n}, expected {all}")));
        }
        // What follows need not know that it was in several.
        joined.metadata.insert(COUNT_KEY.to_owned(), Value::Unsigned(1));
        Ok(joined)
    }
}

/// The names of the files of a model of which `name` is one: `name-00001-of-00003.gguf` and its like are parts.
pub fn part_names(name: &str) -> Vec<String> {
    let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let parts = name.strip_suffix(".gguf").and_then(|rest| {
        let (rest, count) = rest.rsplit_once("-of-")?;
        let (stem, no) = rest.rsplit_once('-')?;
        (digits(no) && digits(count)).then(|| (stem, count, count.parse::<usize>().unwrap_or_default()))
    });
    match parts {
        Some((stem, count, n)) if n > 0 => {
            (1..=n).map(|no| format!("{stem}-{no:05}-of-{count}.gguf")).collect()
        }
        _ => vec![name.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::part_names;

    #[test]
    fn parts_are_known_by_their_names() {
        let all = ["a-1-00001-of-00003.gguf", "a-1-00002-of-00003.gguf", "a-1-00003-of-00003.gguf"];
        assert_eq!(part_names(all[1]), all);
        for other in [
            "a.gguf",
            "a-00001-of-00000.gguf",
            "a-0001-of-00003.gguf",
            "a-00001-of-0000x.gguf",
            "a-00001-of-00003",
        ] {
            assert_eq!(part_names(other), [other]);
        }
    }
}
