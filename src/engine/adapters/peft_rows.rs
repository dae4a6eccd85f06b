//! The part of a PEFT folder that concerns tokens: LoRA on the embedding, rows of embedding and
//! head that are replaced, virtual tokens.

use crate::error::{Error, Result};
use crate::format::peft::{AdapterConfig, Method, Role};
use crate::model::Table;

use crate::engine::adapters::adapter::{Adapter, Lead, ModuleDelta, RowDeltas};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::loaded::unknown;
use crate::engine::adapters::peft::{Roles, Tensor, find};

/// Elements of the base read at once.
const PIECE_ELEMENTS: usize = 1 << 20;

impl Base<'_> {
    /// The embeddings, or the keys and values, of virtual tokens.
    ///
    /// Errors with `Mismatch` where they are another base's, or missing.
    pub(crate) fn virtual_tokens(&self, config: &AdapterConfig, shared: &Roles) -> Result<Option<Lead>> {
        let base = &self.model.config;
        let kv = base.num_key_value_heads * base.head_dim;
        let wrong = |field: &str, got: usize, expected: usize| {
            Err(Error::mismatch(format!("adapter_config.json: {field} {got}, this base has {expected}")))
        };
        match config.method {
            Method::PromptTuning { num_virtual_tokens, token_dim } => {
                if token_dim != base.hidden_size {
                    return wrong("token_dim", token_dim, base.hidden_size);
                }
                let rows = find(shared, &Role::PromptEmbeddings, "", "prompt_embeddings")?;
                rows.expect(&[num_virtual_tokens, token_dim])?;
                Ok(Some(Lead::Prompt(rows.values.clone())))
            }
            Method::PrefixTuning { num_virtual_tokens, token_dim, num_layers, .. } => {
                if num_layers != base.layers.len() {
                    return wrong("num_layers", num_layers, base.layers.len());
                }
                if token_dim != kv {
                    return wrong("token_dim", token_dim, kv);
                }
                let rows = find(shared, &Role::PrefixEmbeddings, "", "prompt_embeddings")?;
                rows.expect(&[num_virtual_tokens, 2 * num_layers * token_dim])?;
                Ok(Some(Lead::Prefix(rows.values.clone())))
            }
            _ => Ok(None),
        }
    }

    /// What LoRA does to the embedding: row v ← row v + scale · B A[:, v], and with a magnitude m
    /// (C) each column c of the table renormalised to m[c] (arXiv:2402.09353).
    pub(crate) async fn embedding(
        &mut self,
        config: &AdapterConfig,
        module: &str,
        roles: &Roles,
    ) -> Result<ModuleDelta> {
        let mut delta = ModuleDelta { module: module.to_owned(), ..ModuleDelta::default() };
        for (role, loaded) in roles {
            if !matches!(
                role,
                Role::EmbeddingA
                    | Role::EmbeddingB
                    | Role::Magnitude
                    | Role::Saved(_)
                    | Role::TokenDelta
                    | Role::Unused(_)
            ) {
                return Err(Error::mismatch(format!(
                    "tensor `{}`: an embedding has no place for it",
                    loaded.name
                )));
            }
        }
        if !roles.contains_key(&Role::EmbeddingA) && !roles.contains_key(&Role::EmbeddingB) {
            return Ok(delta);
        }
        let (v, c) = (self.model.config.vocab_size, self.model.config.hidden_size);
        let (rank, scale) = (config.rank(module)?, config.scale(module)?);
        let a = find(roles, &Role::EmbeddingA, module, "lora_embedding_A")?;
        let b = find(roles, &Role::EmbeddingB, module, "lora_embedding_B")?;
        if let [r, n] = a.shape[..]
            && r == rank
            && n > v
        {
            return Err(a.added(n, n - v));
        }
        a.expect(&[rank, v])?;
        b.expect(&[c, rank])?;
        (delta.rank, delta.scale) = (rank, scale);
        (delta.a, delta.b) = (a.values.clone(), b.values.clone());
        if config.has_magnitudes() {
            let magnitude = find(roles, &Role::Magnitude, module, "lora_magnitude_vector")?;
            magnitude.expect(&[c])?;
            let (magnitude, a, scaled_b) = (magnitude.values.values(), a.values.values(), delta.scaled_b());
            let mut squares = vec![0.0f64; c];
            self.each_row(module, |token, row| {
                for (i, square) in squares.iter_mut().enumerate() {
                    let b = &scaled_b[i * rank..][..rank];
                    let update: f32 = (0..rank).map(|r| b[r] * a[r * v + token]).sum();
                    *square += f64::from(row[i] + update).powi(2);
                }
            })
            .await?;
            for (i, square) in squares.iter().enumerate() {
                let scale = magnitude[i] / square.sqrt() as f32;
                delta.rows.push(scale);
                delta.gain.push(scale - 1.0);
            }
        }
        Ok(delta)
    }

    /// Rows of the embedding or the head that come whole (`modules_to_save`) or one by one
    /// (`trainable_token_indices`). Rows like the base's are left out.
    ///
    /// Errors with `Mismatch` for another shape, `Argument` for a token the base does not have.
    pub(crate) async fn replace_rows(
        &mut self,
        config: &AdapterConfig,
        module: &str,
        roles: &Roles,
        adapter: &mut Adapter,
    ) -> Result<()> {
        let embedding = self.model.weights.embedding();
        let table = match module {
            "lm_head" => Table::Head,
            name if name == embedding => Table::Embed,
            _ => return Ok(()),
        };
        let (v, c) = (self.model.config.vocab_size, self.model.config.hidden_size);
        if let Some((_, bias)) = roles.iter().find(|(role, _)| **role == Role::Saved("bias".to_owned())) {
            return Err(Error::mismatch(format!("tensor `{}`: module `{module}` has no bias", bias.name)));
        }
        let (tokens, new): (Vec<u32>, &Tensor) =
            if let Some(rows) = roles.get(&Role::Saved("weight".to_owned())) {
                let n = rows.table_rows(v, c, self.tokenizer_tokens)?;
                if n < v {
                    adapter.warnings.push(format!(
                    "tensor `{}`: {n} rows, this base has {v}: its tokens from {n} on keep the base's rows",
                    rows.name
                ));
                }
                ((0..n as u32).collect(), rows)
            } else if let Some(rows) = roles.get(&Role::TokenDelta) {
                let tokens = config.token_rows(module, table == Table::Embed).unwrap_or_default();
                rows.expect(&[tokens.len(), c])?;
                self.model.check_ids(tokens)?;
                (tokens.to_vec(), rows)
            } else {
                return Ok(());
            };
        let new = new.values.values();
        let mut at: Vec<Option<usize>> = vec![None; v];
        tokens.iter().enumerate().for_each(|(i, &token)| at[token as usize] = Some(i));
        let rows = &mut adapter.rows[table as usize];
        self.each_row(module, |token, base| {
            let Some(i) = at[token] else { return };
            let new = &new[i * c..][..c];
            if new != base {
                rows.tokens.push(token as u32);
                rows.deltas.extend(new.iter().zip(base).map(|(new, base)| new - base));
            }
        })
        .await
    }

    /// A tied head follows the embedding's single rows unless it has its own, and its whole table
    /// where the config ties them.
    pub(crate) fn tie_rows(&self, config: &AdapterConfig, adapter: &mut Adapter) {
        let [embed, head] = &mut adapter.rows;
        let single = config.token_rows(&self.model.weights.embedding(), true).is_some();
        if self.model.config.tie_word_embeddings && head.tokens.is_empty() && (single || config.ties()) {
            *head = RowDeltas::clone(embed);
        }
    }

    /// Shows `see(row, values (C))` for each row of a table of the base.
    async fn each_row(&mut self, module: &str, mut see: impl FnMut(usize, &[f32])) -> Result<()> {
        let c = self.model.config.hidden_size;
        let runs = self.model.weights.rows_of(module).ok_or_else(|| unknown(module))?;
        let mut row = 0;
        for (tensor, first, count) in runs {
            let step = (PIECE_ELEMENTS / c).max(1);
            for from in (first..first + count).step_by(step) {
                let n = step.min(first + count - from);
                let values = self.read_f32(tensor, from * c, n * c).await?;
                values.chunks_exact(c).zip(row..).for_each(|(values, row)| see(row, values));
                row += n;
            }
        }
        Ok(())
    }
}

impl Tensor {
    /// Rows of a table (V, C) that comes whole. It may have fewer than the base's `v`: those were cut to
    /// the `tokens` of the tokenizer, or to fewer, and what is behind them is not asked for.
    ///
    /// Errors with `Mismatch` for rows of tokens that the base or its tokenizer does not have, or another width.
    fn table_rows(&self, v: usize, c: usize, tokens: usize) -> Result<usize> {
        match self.shape[..] {
            [n, width] if width == c && n > v => Err(self.added(n, n - v)),
            [n, width] if width == c && n < v && n > tokens => Err(self.added(n, n - tokens)),
            [n, width] if width == c && n > 0 => Ok(n),
            _ => self.expect(&[v, c]).map(|()| v),
        }
    }

    /// What to do about a table of `n` rows, the last of which are new tokens'.
    fn added(&self, n: usize, new: usize) -> Error {
        let tokens = if new == 1 { "1 token was".to_owned() } else { format!("{new} tokens were") };
        Error::mismatch(format!(
            "tensor `{}`: {n} rows: {tokens} added to this base before the adapter was trained, and the base here \
             does not have them. Load one that has: in Python `base.resize_token_embeddings({n})`, then \
             `save_pretrained` of it and of the adapter's tokenizer into one folder",
            self.name
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::adapters::numbers::Numbers;

    #[test]
    fn rows_of_a_table_are_the_bases_or_those_of_its_tokens() {
        let rows = |shape: &[usize]| {
            let table = Tensor { name: "head".to_owned(), shape: shape.to_vec(), values: Numbers::default() };
            table.table_rows(64, 3, 60)
        };
        for n in [1, 59, 60, 64] {
            assert_eq!(rows(&[n, 3]), Ok(n));
        }
        for (n, new) in
            [(61, "1 token was"), (63, "3 tokens were"), (65, "1 token was"), (70, "6 tokens were")]
        {
            let error = rows(&[n, 3]).expect_err("new tokens").to_string();
            assert!(error.contains(&format!("{n} rows: {new} added to this base")), "{error}");
        }
        for shape in [&[64, 4][..], &[0, 3], &[64], &[65, 4]] {
            assert!(rows(shape).expect_err("another width").to_string().contains("expected [64, 3]"));
        }
    }
}
