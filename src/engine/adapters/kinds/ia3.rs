//! (IA)³ (arXiv:2205.05638): the output of a module times a vector, or its input where that is
//! feed-forward.

use crate::error::{Error, Result};
use crate::format::peft::{Fields, Json, Names, Path, Written, names};

use super::{Kind, Role, Roles, find};
use crate::engine::adapters::adapter::{Adapter, ModuleDelta, PointDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::common::Common;

/// What only an (IA)³ config has.
#[derive(Clone, Debug, PartialEq)]
pub struct Ia3 {
    feedforward_modules: Names,
}

impl Ia3 {
    /// Whether it multiplies the input of `module` and not its output.
    pub fn is_feedforward(&self, module: &str) -> bool {
        // `_check_target_module_feedforward` asks for no dot in front of the suffix.
        self.feedforward_modules.end_or_match(module)
    }
}

impl Kind for Ia3 {
    const TYPES: &'static [&'static str] = &["IA3"];
    const WITHOUT_EFFECT: &'static [&'static str] = &["init_ia3_weights"];
    const ADAPTS: &'static [Role] = &["ia3_l"];

    fn read(fields: &mut Fields, common: &mut Common) -> Result<Self> {
        common.read_selection(fields)?;
        common.selection.exclude = fields.names("exclude_modules")?;
        let feedforward_modules = match fields.take("feedforward_modules") {
            Some(value) => names("feedforward_modules", &value)?,
            None => return Err(Error::format("adapter_config.json: field `feedforward_modules` is missing")),
        };
        if let (Names::List(all), Names::List(some)) = (&common.selection.target, &feedforward_modules)
            && let Some(stray) = some.iter().find(|name| !all.contains(name))
        {
            return Err(Error::format(format!(
                "adapter_config.json: field `feedforward_modules` holds `{stray}`, which target_modules does not"
            )));
        }
        Ok(Self { feedforward_modules })
    }

    fn write(&self, common: &Common, fields: &mut Written) {
        common.write_maps(fields);
        fields.always("feedforward_modules", Json::from(&self.feedforward_modules));
    }

    fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)> {
        name.strip("ia3_l", "").map(|module| (module, "ia3_l"))
    }

    /// y = W (l ∘ x) + bias with l (1, C) of a feed-forward module, y = l ∘ (W x + bias) with l (F, 1) of
    /// another
    async fn act(
        &self,
        base: &mut Base<'_>,
        delta: &mut ModuleDelta,
        roles: &mut Roles,
        _shared: &Roles,
        adapter: &mut Adapter,
    ) -> Result<()> {
        // An embedding has no place for it.
        if !roles.contains_key("ia3_l") || delta.module == base.model.weights.embedding() {
            return Ok(());
        }
        let module = &delta.module;
        let (l, [inputs, outputs]) = (find(roles, "ia3_l", module)?, base.shape(module)?);
        let is_feedforward = self.is_feedforward(module);
        l.expect(&if is_feedforward { [1, inputs] } else { [outputs, 1] })?;
        let gain: Vec<f32> = l.values().iter().map(|l| l - 1.0).collect();
        if is_feedforward {
            let (point, shift) = (format!("{module}.input"), vec![0.0; inputs]);
            adapter.points.push(PointDelta { point, gain, shift });
            return Ok(());
        }
        if let Some(bias) = base.vector(&format!("{module}.bias")).await? {
            delta.shift = bias.iter().zip(&gain).map(|(bias, gain)| bias * gain).collect();
        }
        delta.gain = gain;
        Ok(())
    }
}
