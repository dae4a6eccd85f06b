//! Writes GGUF files for tests, lies included.
//! Not a writer anyone should use: what it is told, it writes.

/// A file in the making.
#[derive(Clone, Default)]
pub(crate) struct GgufFile {
    metadata: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: Vec<u8>,
}

/// A length and the text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl GgufFile {
    /// An entry of this type number and value.
    pub(crate) fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.metadata.push([&text(key), &kind.to_le_bytes()[..], value].concat());
        self
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.raw(key, 8, &text(value))
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.raw(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.raw(key, 7, &[value.into()])
    }

    pub(crate) fn texts(self, key: &str, values: &[impl AsRef<str>]) -> Self {
        let list = values.iter().flat_map(|value| text(value.as_ref())).collect();
        self.list(key, 8, values.len(), list)
    }

    pub(crate) fn floats(self, key: &str, values: &[f32]) -> Self {
        self.list(key, 6, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(crate) fn integers(self, key: &str, values: &[i32]) -> Self {
        self.list(key, 5, values.len(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn list(self, key: &str, kind: u32, count: usize, list: Vec<u8>) -> Self {
        self.raw(key, 9, &[&kind.to_le_bytes()[..], &(count as u64).to_le_bytes(), &list].concat())
    }

    /// Without the entry of this key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.metadata.retain(|entry| !entry.starts_with(&text(key)));
        self
    }

    /// Without the tensor of this name, whose data stays.
    pub(crate) fn without_tensor(mut self, name: &str) -> Self {
        self.tensors.retain(|claim| !claim.starts_with(&text(name)));
        self
    }

    /// A tensor of f32, (n), at the end of the data.
    pub(crate) fn vector(mut self, name: &str, values: &[f32]) -> Self {
        let offset = self.append(bytemuck::cast_slice(values));
        self.claim(name, &[values.len() as u64], 0, offset)
    }

    fn append(&mut self, bytes: &[u8]) -> u64 {
        let offset = self.data.len().next_multiple_of(32);
        self.data.resize(offset, 0);
        self.data.extend(bytes);
        offset as u64
    }

    /// A tensor stored in this type, `dims` innermost first, at the end of the data.
    pub(crate) fn stored(mut self, name: &str, dims: &[u64], ggml_type: u32, bytes: &[u8]) -> Self {
        let offset = self.append(bytes);
        self.claim(name, dims, ggml_type, offset)
    }

    /// A tensor that claims to lie at `offset`; `dims` innermost first.
    pub(crate) fn claim(mut self, name: &str, dims: &[u64], ggml_type: u32, offset: u64) -> Self {
        let mut claim = text(name);
        claim.extend((dims.len() as u32).to_le_bytes());
        dims.iter().for_each(|dim| claim.extend(dim.to_le_bytes()));
        claim.extend(ggml_type.to_le_bytes());
        claim.extend(offset.to_le_bytes());
        self.tensors.push(claim);
        self
    }

    /// A tensor of f32, (rows, cols), at the end of the data.
    pub(crate) fn matrix(mut self, name: &str, cols: usize, values: &[f32]) -> Self {
        let offset = self.append(bytemuck::cast_slice(values));
        self.claim(name, &[cols as u64, (values.len() / cols) as u64], 0, offset)
    }

    /// So many bytes of data after those there are.
    pub(crate) fn data(mut self, bytes: usize) -> Self {
        self.data.resize(self.data.len() + bytes, 0);
        self
    }

    /// The bytes: version 3, data at a multiple of 32.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3u32.to_le_bytes());
        file.extend((self.tensors.len() as u64).to_le_bytes());
        file.extend((self.metadata.len() as u64).to_le_bytes());
        file.extend(self.metadata.concat());
        file.extend(self.tensors.concat());
        if !self.data.is_empty() {
            file.resize(file.len().next_multiple_of(32), 0);
            file.extend(&self.data);
        }
        file
    }

    /// The bytes with `patch` over those at `at`.
    pub(crate) fn patched(&self, at: usize, patch: &[u8]) -> Vec<u8> {
        let mut file = self.bytes();
        file[at..at + patch.len()].copy_from_slice(patch);
        file
    }
}
