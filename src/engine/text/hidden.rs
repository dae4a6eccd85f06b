//! Hidden states of texts, and one vector for each text: its embedding.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::loaded::Choice;
use crate::engine::plans::Kind;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::logits::not_numbers;
use crate::error::{Error, Result};
use crate::model::{MAX_ROWS, Pooling};

impl Texts {
    /// Hidden states (T, C) of `ids` under `choice` (`None` is the engine's own), computed anew:
    /// after `layer` layers, or by default after all and the last norm, as transformers counts
    /// `hidden_states`. Those of virtual tokens are left out.
    ///
    /// Errors with `Argument` for ids as [`logits`](Self::logits) does, a choice that cannot be
    /// made, or a layer the model has not, and with `Device` naming the token whose states are not
    /// numbers.
    pub(crate) async fn hidden_states(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        choice: Option<&Choice>,
        layer: Option<usize>,
    ) -> Result<Vec<f32>> {
        let config = &runner.model().config;
        let (layers, c) = (config.layers.len(), config.hidden_size);
        let layer = layer.unwrap_or(layers);
        if layer > layers {
            return Err(Error::argument(format!("layer {layer}, expected 0 to {layers}")));
        }
        let chosen = adapters.choose(runner.model(), choice)?;
        if config.encoder.is_some() {
            let states = self.encoded_states(runner, adapters, ids, &chosen, layer).await?;
            return numbers(states, c, 0);
        }
        let (seat, tokens) = self.take_seat_anew(runner, adapters, ids, &chosen)?;
        let state = runner.model().hidden_state(layer);
        let (mut states, mut done): (Vec<f32>, usize) = (Vec::with_capacity(tokens.len() * c), seat.given);
        let mut result = Ok(());
        while result.is_ok() && done < tokens.len() {
            let most = runner.forward_rows(runner.model().all_layer_weights(), MAX_ROWS);
            let n = runner.run_rows(tokens.len() - done, most);
            let rows = seat.rows(&tokens, done..done + n);
            let run = async {
                runner.run(Kind::Hidden(layer), &rows)?;
                runner.read(state, 0, n * c).await
            };
            result = run.await.map(|read| {
                states.extend_from_slice(bytemuck::cast_slice(&read));
                done += n;
            });
        }
        // The layers after this one have nothing in the cache.
        let cached = if layer == layers { &tokens[..done] } else { &[] };
        let virtual_rows = seat.lead - seat.given;
        self.leave_seat(runner, adapters, seat, cached);
        result?;
        numbers(states, c, virtual_rows)
    }

    /// One vector (C) for a text: its [`hidden_states`](Self::hidden_states), pooled as `pooling` says, or the
    /// model's files, or by their mean.
    ///
    /// Errors as those do.
    pub(crate) async fn embed(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        choice: Option<&Choice>,
        (layer, pooling): (Option<usize>, Option<Pooling>),
    ) -> Result<Vec<f32>> {
        let states = self.hidden_states(runner, adapters, ids, choice, layer).await?;
        let config = &runner.model().config;
        let c = config.hidden_size;
        let of_files = config.encoder.and_then(|encoder| encoder.pooling);
        Ok(match pooling.or(of_files).unwrap_or_default() {
            Pooling::Cls => states[..c].to_vec(),
            Pooling::Last => states[states.len() - c..].to_vec(),
            Pooling::Mean => {
                let sum = |i: usize| states.iter().skip(i).step_by(c).copied().map(f64::from).sum::<f64>();
                (0..c).map(|i| (sum(i) / ids.len() as f64) as f32).collect()
            }
        })
    }
}

/// States (T, C) without those of virtual tokens.
///
/// Errors with `Device` naming the token whose states are not numbers.
fn numbers(mut states: Vec<f32>, c: usize, virtual_rows: usize) -> Result<Vec<f32>> {
    match states.iter().position(|state: &f32| !state.is_finite()) {
        Some(at) => Err(not_numbers(format_args!("token {}", (at / c + 1).saturating_sub(virtual_rows)))),
        None => Ok(states.split_off(virtual_rows * c)),
    }
}
