//! Loaded adapters in the bank: where each one's numbers go, and how they are written there.
//! Which adapters act is `adapters`' business.

use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Bank, Demand, Held, Model, Room, Table, size};
use crate::plan::{ABSENT, MAX_RANKS, Tensors};

use crate::engine::adapters::Adapters;
use crate::engine::adapters::adapter::{Adapter, Lead};
use crate::engine::adapters::files::AdapterFiles;
use crate::engine::adapters::loaded::AdapterInfo;
use crate::engine::adapters::loaded::Loaded;
use crate::engine::runner::Runner;

/// A bank as it is to be, and all tensors with it.
pub(crate) struct Grown {
    bank: Bank,
    pub(crate) tensors: Tensors,
    /// Of each adapter that will be loaded then.
    ranks: Vec<Held>,
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
        let mut loaded = self.fitted(runner, name, adapter, files)?;
        let grown = self.grown_for(runner, &mut loaded)?;
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
        let ranks = grown.map(|grown| self.set_bank(runner, grown)).transpose();
        let ranks = ranks.map_err(|e| of_adapter(&info.name, e))?;
        self.next_id += 1;
        self.loaded.retain(|loaded| loaded.info.name != info.name);
        self.loaded.push(loaded);
        match ranks {
            Some(ranks) => self.move_all(runner, ranks),
            None => self.write_adapter(runner, self.loaded.len() - 1),
        }
        Ok(info)
    }

    /// Gives an adapter that is to be loaded its ranks, and returns the bank with room for it; `None` if it
    /// has that already. An adapter of its name makes way.
    ///
    /// Errors with `Memory`.
    pub(crate) fn grown_for(&self, runner: &Runner, newest: &mut Loaded) -> Result<Option<Grown>> {
        let before = &runner.model().bank;
        let name = newest.info.name.clone();
        let needed = Room { adapters: newest.index + 1, rows: newest.rows.end, prompts: newest.prompts.end };
        // At least two, so that the second adapter finds room.
        let room = before.room.grown_to(Room { adapters: needed.adapters.max(2), ..needed });
        let mut bank = before.clone();
        bank.enable(newest.places.points.iter().map(|span| span.point));
        for (table, rows) in Table::ALL.into_iter().zip(&newest.adapter.rows) {
            if !rows.tokens.is_empty() {
                bank.tables.enable(table);
            }
        }
        let others = self.loaded.iter().filter(|loaded| loaded.info.name != name);
        let place = before.place(&newest.demand(), others.clone().map(|loaded| &loaded.ranks));
        if let Some(ranks) = place.filter(|_| room == before.room && !bank.has_more_than(before)) {
            newest.ranks = ranks;
            return Ok(None);
        }
        let demands: Vec<_> = others.map(Loaded::demand).chain([newest.demand()]).collect();
        let ranks = arrange(runner.model(), &mut bank, &demands);
        if ranks.iter().flatten().any(|ranks| ranks.end > MAX_RANKS) {
            return Err(Error::memory(format!(
                "adapter `{name}`: rank {}, the bank stacks at most {MAX_RANKS} ranks of all adapters",
                newest.info.rank
            )));
        }
        let tensors = runner.model().with_bank(&mut bank, room).map_err(|e| of_adapter(&name, e))?;
        let (all, most) = (tensors.total_bytes(), runner.backend().max_bytes());
        if all > most {
            return Err(Error::memory(format!(
                "adapter `{name}`: {} with the model and all adapters, expected at most {}",
                size(all),
                size(most)
            )));
        }
        Ok(Some(Grown { bank, tensors, ranks }))
    }

    /// Puts a larger bank, or a smaller one, in the place of the one there is, and returns which ranks the
    /// adapters are to have in it. On an error that stays.
    ///
    /// Errors with `Memory`, and with `Argument` while the device has learned what is not read back yet.
    fn set_bank(&self, runner: &mut Runner, Grown { bank, tensors, ranks }: Grown) -> Result<Vec<Held>> {
        if let Some(loaded) = self.loaded.iter().find(|loaded| loaded.is_ahead) {
            return Err(Error::argument(format!(
                "adapter `{}` has learned what is not read back yet, expected an export of it first",
                loaded.info.name
            )));
        }
        runner.set_bank(bank, tensors)?;
        Ok(ranks)
    }

    /// Gives all adapters other ranks, and writes them and the lines that name them anew.
    fn move_all(&mut self, runner: &mut Runner, ranks: Vec<Held>) {
        self.loaded.iter_mut().zip(ranks).for_each(|(loaded, ranks)| loaded.ranks = ranks);
        if let Ok(trained) = self.trained() {
            runner.move_trainee(&trained.ranks);
        }
        self.write_all(runner);
    }

    /// Gives back room for many ranks that no adapter needs any more. A device that has no room to do so
    /// keeps what there is.
    pub(crate) fn give_room_back(&mut self, runner: &mut Runner) -> Result<()> {
        let mut bank = runner.model().bank.clone();
        if !bank.has_many_ranks() || self.loaded.iter().any(|loaded| loaded.is_ahead) {
            return Ok(());
        }
        let demands: Vec<_> = self.loaded.iter().map(Loaded::demand).collect();
        let ranks = arrange(runner.model(), &mut bank, &demands);
        let room = bank.room;
        let tensors = runner.model().with_bank(&mut bank, room)?;
        if tensors.total_bytes() >= runner.model().tensors.total_bytes() {
            return Ok(());
        }
        match self.set_bank(runner, Grown { bank, tensors, ranks }) {
            Ok(ranks) => self.move_all(runner, ranks),
            Err(e) if e.kind() == ErrorKind::Memory => {}
            Err(e) => return Err(e),
        }
        Ok(())
    }

    /// Writes every adapter's numbers.
    pub(crate) fn write_adapters(&self, runner: &mut Runner) {
        (0..self.loaded.len()).for_each(|i| self.write_adapter(runner, i));
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
        let demand = loaded.demand();
        for (s, site) in bank.sites.iter().enumerate().filter(|(_, site)| site.enabled) {
            let (c, f, room) = (site.inputs, site.outputs(), bank.layout(site).ranks);
            let (range, parts) = (loaded.range_at(site), demand.get(&s).copied().unwrap_or_default());
            // A has a run of rows for each block, B one.
            let len = range.len();
            let mut a = vec![0.0f32; site.blocks() * len * c];
            let mut b = vec![0.0f32; len * f];
            let mut rows = [vec![0.0f32; f], vec![0.0f32; f]];
            let deltas = loaded.adapter.deltas.iter().zip(&loaded.places.deltas);
            for (delta, place) in deltas.filter(|(_, place)| place.site == s) {
                let (at, first) = (bank.part_rows(site, 0, &parts, place.part), site.edges[place.part]);
                let row = at.a / room * len + at.a % room;
                a[row * c..][..delta.a.len()].copy_from_slice(&delta.a.values());
                for (column, line) in loaded.bank_b(delta).chunks_exact(delta.rank.max(1)).enumerate() {
                    let numbers = line.iter().enumerate();
                    numbers.for_each(|(r, value)| b[(at.b + r) * f + first + column] = *value);
                }
                for (row, values) in rows.iter_mut().zip([&delta.gain, &delta.shift]) {
                    row[first..][..values.len()].copy_from_slice(values);
                }
            }
            for (block, a) in a.chunks_exact((len * c).max(1)).enumerate() {
                backend.upload(site.a, (block * room + range.start) * c, bytemuck::cast_slice(a));
            }
            if len > 0 {
                backend.upload(site.b, range.start * f, bytemuck::cast_slice(&b));
            }
            let gain_row = room + loaded.index;
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

/// Arranges a bank for adapters with these demands. What is trained keeps its shapes.
pub(crate) fn arrange(model: &Model, bank: &mut Bank, demands: &[Demand]) -> Vec<Held> {
    let trained = model.training.trainee.iter().flat_map(|trainee| &trainee.sites);
    bank.arrange(demands, &trained.map(|trained| trained.site).collect())
}

fn of_adapter(name: &str, e: Error) -> Error {
    e.context(format_args!("adapter `{name}`"))
}
