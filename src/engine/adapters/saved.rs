//! What an adapter of any kind may bring of the base's own parameters: biases, norms and rows of tables
//! that replace the base's (`bias`, `modules_to_save`, `trainable_token_indices`).

use crate::error::{Error, Result};
use crate::model::Table;

use crate::engine::adapters::adapter::{Adapter, ModuleDelta, PointDelta, RowDeltas};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::config::AdapterConfig;
use crate::engine::adapters::kinds::Roles;
use crate::engine::adapters::loaded::unknown;
use crate::engine::adapters::part::{BASE_BIAS, SAVED_BIAS, SAVED_WEIGHT, UNUSED};
use crate::engine::adapters::tensor::Tensor;

/// The role of rows of a table that replace the base's one by one.
const TOKEN_DELTA: &str = "trainable_tokens_delta";

/// A norm whose weight or bias is replaced: with y = x̂ ∘ w + b, the new output is
/// y ∘ (w'/w) + b' − b ∘ (w'/w).
pub(super) async fn norm(base: &mut Base<'_>, module: &str, roles: &Roles) -> Result<PointDelta> {
    let weight = base.vector(&format!("{module}.weight")).await?.ok_or_else(|| unknown(module))?;
    let (c, offset) = (weight.len(), base.model.weights.offset(&format!("{module}.weight")));
    let bias = base.vector(&format!("{module}.bias")).await?;
    let (mut new_weight, mut new_bias) = (weight.clone(), bias.clone().unwrap_or_else(|| vec![0.0; c]));
    for (&role, tensor) in roles {
        tensor.expect(&[c])?;
        match role {
            SAVED_WEIGHT => new_weight = tensor.values().iter().map(|weight| weight + offset).collect(),
            SAVED_BIAS | BASE_BIAS if bias.is_some() => new_bias = tensor.values(),
            _ => {
                return Err(Error::mismatch(format!("tensor `{}`: a norm has no place for it", tensor.name)));
            }
        }
    }
    if let Some(c) = weight.iter().position(|w| *w == 0.0) {
        return Err(Error::unsupported(format!("module `{module}`: weight {c} of the base is 0")));
    }
    let gain: Vec<f32> = new_weight.iter().zip(&weight).map(|(new, old)| new / old - 1.0).collect();
    let old_bias = bias.unwrap_or_else(|| vec![0.0; c]);
    let shift = new_bias.iter().zip(&old_bias).zip(&gain).map(|((new, old), gain)| new - old * (1.0 + gain));
    Ok(PointDelta { point: module.to_owned(), shift: shift.collect(), gain })
}

/// What is left of a module's tensors when its kind has taken its own: a new bias, as shift.
///
/// Errors with `Mismatch` or `Unsupported` naming a tensor that has no place.
pub(super) async fn rest(base: &mut Base<'_>, delta: &mut ModuleDelta, roles: Roles) -> Result<()> {
    let module = delta.module.clone();
    let is_embedding = module == base.model.weights.embedding();
    for (role, tensor) in roles {
        let mismatch = |why: &str| Err(Error::mismatch(format!("tensor `{}`: {why}", tensor.name)));
        match role {
            _ if UNUSED.contains(&role) => {}
            // `rows` has read those of tables.
            SAVED_WEIGHT | SAVED_BIAS | TOKEN_DELTA
                if is_embedding || module == base.model.weights.head_name() => {}
            _ if is_embedding => return mismatch("an embedding has no place for it"),
            BASE_BIAS => replace_bias(base, delta, &tensor).await?,
            SAVED_WEIGHT | SAVED_BIAS => {
                return Err(Error::unsupported(format!(
                    "tensor `{}`: of modules_to_save only norms, the embedding and the head are read",
                    tensor.name
                )));
            }
            _ => return mismatch(&format!("module `{module}` is no embedding")),
        }
    }
    Ok(())
}

/// shift += the new bias − the base's
async fn replace_bias(base: &mut Base<'_>, delta: &mut ModuleDelta, new: &Tensor) -> Result<()> {
    let [_, outputs] = base.shape(&delta.module)?;
    new.expect(&[outputs])?;
    let Some(old) = base.vector(&format!("{}.bias", delta.module)).await? else {
        return Err(Error::mismatch(format!("tensor `{}`: module `{}` has no bias", new.name, delta.module)));
    };
    delta.shift.resize(outputs, 0.0);
    for ((shift, new), old) in delta.shift.iter_mut().zip(new.values()).zip(old) {
        *shift += new - old;
    }
    Ok(())
}

/// Rows of the embedding or the head that come whole (`modules_to_save`) or one by one
/// (`trainable_token_indices`). Rows like the base's are left out.
///
/// Errors with `Mismatch` for another shape, `Argument` for a token the base does not have.
pub(super) async fn rows(
    base: &mut Base<'_>,
    config: &AdapterConfig,
    module: &str,
    roles: &Roles,
    adapter: &mut Adapter,
) -> Result<()> {
    let embedding = base.model.weights.embedding();
    let table = match module {
        name if name == base.model.weights.head_name() => Table::Head,
        name if name == embedding => Table::Embed,
        _ => return Ok(()),
    };
    let (v, c) = (base.model.config.vocab_size, base.model.config.hidden_size);
    if let Some(bias) = roles.get(SAVED_BIAS) {
        return Err(Error::mismatch(format!("tensor `{}`: module `{module}` has no bias", bias.name)));
    }
    let (tokens, new): (Vec<u32>, Vec<f32>) = if let Some(rows) = roles.get(SAVED_WEIGHT) {
        let n = rows.table_rows(v, c, base.tokenizer_tokens)?;
        if n < v {
            adapter.warnings.push(format!(
                "tensor `{}`: {n} rows, this base has {v}: its tokens from {n} on keep the base's rows",
                rows.name
            ));
        }
        ((0..n as u32).collect(), rows.values())
    } else if let Some(rows) = roles.get(TOKEN_DELTA) {
        let tokens = config.token_rows(module, table == Table::Embed).unwrap_or_default();
        rows.expect(&[tokens.len(), c])?;
        base.model.check_ids(tokens)?;
        (tokens.to_vec(), rows.values())
    } else {
        return Ok(());
    };
    let mut at: Vec<Option<usize>> = vec![None; v];
    tokens.iter().enumerate().for_each(|(i, &token)| at[token as usize] = Some(i));
    let rows = &mut adapter.rows[table as usize];
    base.each_row(module, |token, base| {
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
pub(super) fn tie_rows(base: &Base, config: &AdapterConfig, adapter: &mut Adapter) {
    let [embed, head] = &mut adapter.rows;
    let single = config.token_rows(&base.model.weights.embedding(), true).is_some();
    if base.model.config.tie_word_embeddings && head.tokens.is_empty() && (single || config.ties()) {
        *head = RowDeltas::clone(embed);
    }
}
