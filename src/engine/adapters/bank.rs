//! Loaded adapters in the bank: where each one's numbers go, and how they are written there.
//! Which adapters act is `adapters`' business.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Bank, Room, Table, size};
use crate::plan::{ABSENT, Tensors};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::loaded::AdapterInfo;
use crate::engine::adapters::loaded::{Loaded, Place};
use crate::engine::runner::Runner;

/// A bank as it is to be, and all tensors with it.
pub(crate) struct Grown {
    bank: Bank,
    pub tensors: Tensors,
}

/// Room for so many ranks is kept when no adapter needs it, so that those that come and go do not
/// move the others.
const KEPT_RANKS: usize = 64;

/// What of a room for ranks is kept if adapters need `ranks`.
pub(crate) fn kept_ranks(room: Room, ranks: usize) -> usize {
    ranks.next_power_of_two().max(KEPT_RANKS).min(room.ranks)
}

impl Adapters {
    /// [`add`](Self::add), keeping the folder that the adapter was made from. A device that is out of memory tells
    /// so in browsers only to who waits.
    pub(crate) async fn add_reserved(
        &mut self,
        runner: &mut Runner,
        name: &str,
        adapter: Adapter,
        files: Option<Arc<AdapterFiles>>,
    ) -> Result<AdapterInfo> {
        let loaded = self.fitted(runner, name, adapter, files)?;
        let grown = self.grown_for(runner, &loaded)?;
        if let Some(grown) = &grown {
            runner.reserve(&grown.tensors).await.map_err(|e| of_adapter(name, e))?;
        }
        self.put(runner, loaded, grown)
    }

    /// Loads an adapter that fits into the bank, which is `grown` if it must be; one that has its name
    /// goes. On an error everything is as it was.
    pub(crate) fn put(
        &mut self,
        runner: &mut Runner,
        loaded: Loaded,
        grown: Option<Grown>,
    ) -> Result<AdapterInfo> {
        let info = loaded.info.clone();
        let replaced = self.find(&info.name).ok().map(|loaded| loaded.id);
        if let Some(grown) = grown {
            self.set_bank(runner, grown).map_err(|e| of_adapter(&info.name, e))?;
        }
        self.next_id += 1;
        self.loaded.push(loaded);
        self.write_newest(runner);
        self.loaded.retain(|loaded| Some(loaded.id) != replaced);
        Ok(info)
    }

    /// The bank with room for an adapter that is to be loaded; `None` if it has that already.
    ///
    /// Errors with `Memory`.
    pub(crate) fn grown_for(&self, runner: &Runner, newest: &Loaded) -> Result<Option<Grown>> {
        let before = &runner.model().bank;
        let needed = Room {
            ranks: newest.ranks.end,
            adapters: newest.index + 1,
            rows: newest.rows.end,
            prompts: newest.prompts.end,
        };
        // At least two, so that the second adapter finds room.
        let room = before.room.grown_to(Room { adapters: needed.adapters.max(2), ..needed });
        let mut bank = before.clone();
        bank.enable(
            newest.places.deltas.iter().map(|place| place.site),
            newest.places.points.iter().map(|span| span.point),
        );
        for (table, rows) in Table::ALL.into_iter().zip(&newest.adapter.rows) {
            if !rows.tokens.is_empty() {
                bank.tables.enable(table);
            }
        }
        if room == before.room && !bank.has_more_than(before) {
            return Ok(None);
        }
        let name = &newest.info.name;
        let tensors = runner.model().with_bank(&mut bank, room).map_err(|e| of_adapter(name, e))?;
        let (all, most) = (tensors.total_bytes(), runner.backend().max_bytes());
        if all > most {
            return Err(Error::memory(format!(
                "adapter `{name}`: {} with the model and all adapters, expected at most {}",
                size(all),
                size(most)
            )));
        }
        Ok(Some(Grown { bank, tensors }))
    }

    /// Puts a larger bank, or a smaller one, in the place of the one there is. On an error that stays.
    ///
    /// Errors with `Memory`, and with `Argument` while the device has learned what is not read back yet.
    pub(crate) fn set_bank(&self, runner: &mut Runner, Grown { bank, tensors }: Grown) -> Result<()> {
        if let Some(loaded) = self.loaded.iter().find(|loaded| loaded.is_ahead) {
            return Err(Error::argument(format!(
                "adapter `{}` has learned what is not read back yet, expected an export of it first",
                loaded.info.name
            )));
        }
        runner.set_bank(bank, tensors)?;
        self.write_adapters(runner);
        Ok(())
    }

    /// Gives back room for many ranks that no adapter needs any more. A device that has no room to do so
    /// keeps what there is.
    pub(crate) fn give_room_back(&self, runner: &mut Runner) -> Result<()> {
        let (room, ranks) = (runner.model().bank.room, self.loaded.iter().map(|loaded| loaded.ranks.end));
        let ranks = kept_ranks(room, ranks.max().unwrap_or(0));
        if ranks == room.ranks || self.loaded.iter().any(|loaded| loaded.is_ahead) {
            return Ok(());
        }
        let mut bank = runner.model().bank.clone();
        let tensors = runner.model().with_bank(&mut bank, Room { ranks, ..room })?;
        match self.set_bank(runner, Grown { bank, tensors }) {
            Err(e) if e.kind() == ErrorKind::Memory => Ok(()),
            result => result,
        }
    }

    /// Writes every adapter's numbers.
    pub(crate) fn write_adapters(&self, runner: &mut Runner) {
        (0..self.loaded.len()).for_each(|i| self.write_adapter(runner, i));
    }

    /// Writes the numbers of the adapter loaded last.
    pub(crate) fn write_newest(&self, runner: &mut Runner) {
        self.write_adapter(runner, self.loaded.len() - 1);
    }

    /// Writes an adapter's numbers once more.
    pub(crate) fn rewrite(&self, runner: &mut Runner, name: &str) -> Result<()> {
        let id = self.find(name)?.id;
        let at = self.loaded.iter().position(|loaded| loaded.id == id);
        self.write_adapter(runner, at.expect("it was just found"));
        Ok(())
    }

    /// Writes what is the adapter's own at every enabled place; zeros where it does nothing.
    fn write_adapter(&self, runner: &mut Runner, i: usize) {
        self.write_deltas(runner, i);
        self.write_points(runner, i);
        self.write_rows(runner, i);
    }

    fn write_deltas(&self, runner: &mut Runner, i: usize) {
        let (model, backend) = runner.parts();
        let (loaded, bank) = (&self.loaded[i], &model.bank);
        for (s, site) in bank.sites.iter().enumerate().filter(|(_, site)| site.enabled) {
            let (c, f, len) = (site.inputs, site.outputs(), loaded.ranks.len());
            let mut b = vec![0.0f32; len * f];
            let mut rows = [vec![0.0f32; f], vec![0.0f32; f]];
            for part in 0..site.parts() {
                let mut a = vec![0.0f32; len * c];
                let here = Place { site: s, part };
                let deltas = loaded.adapter.deltas.iter().zip(&loaded.places.deltas);
                for (delta, _) in deltas.filter(|(_, place)| **place == here) {
                    a[..delta.a.len()].copy_from_slice(&delta.a.values());
                    let first = site.edges[part];
                    for (column, line) in loaded.bank_b(delta).chunks_exact(delta.rank.max(1)).enumerate() {
                        line.iter().enumerate().for_each(|(r, value)| b[r * f + first + column] = *value);
                    }
                    for (row, values) in rows.iter_mut().zip([&delta.gain, &delta.shift]) {
                        row[first..][..values.len()].copy_from_slice(values);
                    }
                }
                let first = (part * bank.room.ranks + loaded.ranks.start) * c;
                backend.upload(site.a, first, bytemuck::cast_slice(&a));
            }
            backend.upload(site.b, loaded.ranks.start * f, bytemuck::cast_slice(&b));
            let gain_row = bank.room.ranks + loaded.index;
            for (row, values) in [gain_row, gain_row + bank.room.adapters].into_iter().zip(&rows) {
                backend.upload(site.b, row * f, bytemuck::cast_slice(values));
            }
        }
    }

    fn write_points(&self, runner: &mut Runner, i: usize) {
        let (model, backend) = runner.parts();
        let (loaded, bank) = (&self.loaded[i], &model.bank);
        for (p, point) in bank.points.iter().enumerate().filter(|(_, point)| point.enabled) {
            let mut rows = [vec![0.0; point.cols], vec![0.0; point.cols]];
            let deltas = loaded.adapter.points.iter().zip(&loaded.places.points);
            for (delta, span) in deltas.filter(|(_, span)| span.point == p) {
                for (row, values) in rows.iter_mut().zip([&delta.gain, &delta.shift]) {
                    let columns = row[span.first..].chunks_exact_mut(span.cols).take(span.repeats);
                    columns.for_each(|columns| columns.copy_from_slice(values));
                }
            }
            for (row, values) in [loaded.index, bank.room.adapters + loaded.index].into_iter().zip(&rows) {
                backend.upload(point.gains, row * point.cols, bytemuck::cast_slice(values));
            }
        }
    }

    fn write_rows(&self, runner: &mut Runner, i: usize) {
        let (model, backend) = runner.parts();
        let (loaded, tables) = (&self.loaded[i], &model.bank.tables);
        let Loaded { adapter, rows, prompts, index, .. } = loaded;
        let mut row = rows.start;
        for (table, rows) in Table::ALL.into_iter().zip(&adapter.rows) {
            let Some(map) = tables.map(table) else { continue };
            let mut line = vec![ABSENT; tables.v];
            for (&token, row) in rows.tokens.iter().zip(row..) {
                line[token as usize] = row as u32;
            }
            backend.upload(map, index * tables.v, &line);
            backend.upload(tables.deltas, row * tables.c, bytemuck::cast_slice(&rows.deltas));
            row += rows.tokens.len();
        }
        if let Some(Lead::Prompt(embeddings)) = &adapter.lead {
            backend.upload(
                tables.prompts,
                prompts.start * tables.c,
                bytemuck::cast_slice(&embeddings.values()),
            );
        }
    }
}

fn of_adapter(name: &str, e: Error) -> Error {
    e.context(format_args!("adapter `{name}`"))
}
