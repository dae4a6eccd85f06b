//! Hidden states of a text as an encoder computes them: layer by layer over all of its rows.
//! What a layer is made of says `src/model/encoder.rs`.

use crate::engine::adapters::Adapters;
use crate::engine::adapters::line::Chosen;
use crate::engine::plans::Kind;
use crate::engine::runner::Runner;
use crate::engine::text::Texts;
use crate::engine::text::seat::Seat;
use crate::error::{Error, Result};
use crate::model::MAX_ROWS;
use crate::plan::Row;

impl Texts {
    /// States (T, C) of `ids` after `layers` layers.
    ///
    /// Errors as [`hidden_states`](Self::hidden_states), and with `Unsupported` for virtual tokens.
    pub(super) async fn encoded_states(
        &mut self,
        runner: &mut Runner,
        adapters: &mut Adapters,
        ids: &[u32],
        chosen: &Chosen,
        layers: usize,
    ) -> Result<Vec<f32>> {
        if !chosen.lead.is_empty() {
            return Err(Error::unsupported("virtual tokens in front of an encoder's text: not supported"));
        }
        let (seat, tokens) = self.take_seat_anew(runner, adapters, ids, chosen)?;
        let result = encode(runner, &seat, &tokens, layers).await;
        self.leave_seat(runner, adapters, seat, &[]);
        result
    }
}

async fn encode(runner: &mut Runner, seat: &Seat, tokens: &[u32], layers: usize) -> Result<Vec<f32>> {
    let (end, most) = (tokens.len() - 1, runner.forward_rows(runner.model().layer_weights(), MAX_ROWS));
    let tile = |first: usize| seat.rows(tokens, first..tokens.len().min(first + most));
    let tiles: Vec<Vec<Row>> = (0..tokens.len()).step_by(most).map(tile).collect();
    let all = |runner: &mut Runner, kind| tiles.iter().try_for_each(|rows| runner.encode(kind, rows, end));
    all(runner, Kind::EncodeEmbed)?;
    for l in 0..layers {
        if tiles.len() > 1 {
            all(runner, Kind::EncodeKeys(l))?;
        }
        all(runner, Kind::EncodeLayer(l))?;
        runner.wait().await?;
    }
    if runner.model().config.norms_in_front() && layers == runner.model().config.layers.len() {
        all(runner, Kind::EncodeEnd)?;
    }
    let (stream, c) = (runner.model().whole().stream, runner.model().config.hidden_size);
    runner.read(stream, 0, tokens.len() * c).await.map(bytemuck::cast_vec)
}
