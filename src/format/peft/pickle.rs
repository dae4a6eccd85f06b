//! Refusing weight files that only Python can read.
//! Not a pickle parser: such a file can run code, so nothing in it is read.

use crate::error::{Error, Result};

/// Refuses a pickled weight file (`adapter_model.bin`), by its name or by its first bytes.
///
/// Errors with `Format`, and says how to convert it.
pub fn refuse_pickle(file_name: &str, first_bytes: &[u8]) -> Result<()> {
    let by_name = [".bin", ".pt", ".pth", ".pkl", ".ckpt"].iter().any(|end| file_name.ends_with(end));
    // A safetensors file has its header's length in front, and `{` after it.
    let is_safetensors = first_bytes.get(8) == Some(&b'{');
    let is_zip = first_bytes.starts_with(b"PK\x03\x04");
    let is_bare_pickle = matches!(first_bytes, [0x80, 2..=5, ..]);
    if !by_name && (is_safetensors || !(is_zip || is_bare_pickle)) {
        return Ok(());
    }
    Err(Error::format(
        "a pickled weight file is not read, for it can run code; convert it in Python with \
         `PeftModel.from_pretrained(base, folder).save_pretrained(folder, safe_serialization=True)`: "
            .to_owned()
            + file_name,
    ))
}
