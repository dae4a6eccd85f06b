//! LoRA (arXiv:2106.09685): y += scale · B (A x), and what its config can add to that.
//! Rank-stabilised scales, DoRA, a bias of B, a latent mapping between A and B, tokens of its own.

use crate::order::sort_by_key;
use crate::error::{Error, Result};
use crate::format::peft::{
    Fields, Json, Layers, MAX_RANK, ModulePattern, Names, Path, Written, before, first, in_range, number, wrong,
};

use super::{Kind, Role, Roles, Tensor, find};
use crate::engine::adapters::adapter::{Adapter, ModuleDelta};
use crate::engine::adapters::base::Base;
use crate::engine::adapters::common::Common;

/// Why an adapter is refused that PEFT can convert.
const CUT_OUT: &str = "its A and B fit only the base they were cut out of; convert it in Python with \
                       `save_pretrained(folder, path_initial_model_for_weight_conversion=…)`";

const MAGNITUDE: &str = "lora_magnitude_vector";
const TOKEN_DELTA: &str = "trainable_tokens_delta";

/// What only a LoRA config has.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// `R` where no pattern says otherwise.
    pub(crate) r: usize,
    /// Numerator of the scale where no pattern says otherwise.
    pub(crate) lora_alpha: f64,
    /// Whether the scale is alpha / √R (arXiv:2312.03732) and not alpha / R.
    pub use_rslora: bool,
    /// Whether each module's weight is renormalised to a magnitude (arXiv:2402.09353).
    pub use_dora: bool,
    /// Whether B has a bias; it is scaled as B is.
    pub lora_bias: bool,
    /// Whether a tied head follows what is done to the embedding.
    pub ensure_weight_tying: bool,
    /// Embedding rows that are replaced.
    pub(crate) trainable_token_indices: Vec<TokenRows>,
    pub(crate) rank_pattern: Vec<(ModulePattern, usize)>,
    pub(crate) alpha_pattern: Vec<(ModulePattern, f64)>,
}

/// Rows of one embedding that the adapter replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRows {
    /// End of the embedding's name; `None` is the input embedding.
    pub(crate) module: Option<String>,
    /// Token ids, in the order of the delta tensor's rows.
    pub(crate) indices: Vec<u32>,
}

impl Lora {
    /// Of one rank and one alpha, and nothing else.
    pub(crate) fn plain(r: usize, lora_alpha: f64) -> Self {
        Self {
            r,
            lora_alpha,
            use_rslora: false,
            use_dora: false,
            lora_bias: false,
            ensure_weight_tying: false,
            trainable_token_indices: Vec::new(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
        }
    }

    /// Gives the one module of this name a rank and an alpha of its own.
    pub(crate) fn set_module(&mut self, module: &str, r: usize, lora_alpha: f64) -> Result<()> {
        // In front: the first pattern that fits decides.
        self.rank_pattern.retain(|(pattern, _)| pattern.text() != module);
        self.rank_pattern.insert(0, (ModulePattern::new(module)?, r));
        self.alpha_pattern.retain(|(pattern, _)| pattern.text() != module);
        self.alpha_pattern.insert(0, (ModulePattern::new(module)?, lora_alpha));
        Ok(())
    }

    /// What alpha is divided by at this rank.
    pub(crate) fn divisor(&self, r: usize) -> f64 {
        if self.use_rslora { (r as f64).sqrt() } else { r as f64 }
    }
}

impl Kind for Lora {
    const TYPES: &'static [&'static str] = &["LORA"];
    const WITHOUT_EFFECT: &'static [&'static str] = &[
        "corda_config",
        "eva_config",
        "loftq_config",
        "lora_dropout",
        "lora_ga_config",
        "megatron_core",
        "merge_weights",
        "qalora_group_size",
    ];
    const ADAPTS: &'static [Role] = &["lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B"];

    fn read(fields: &mut Fields, common: &mut Common) -> Result<Self> {
        common.read_selection(fields)?;
        common.selection.exclude = fields.names("exclude_modules")?;
        common.read_bias(fields, "lora_only")?;
        refuse_changed_base(fields)?;
        let patterned = !matches!(common.selection.target, Names::List(_));
        for field in ["layers_to_transform", "layers_pattern"] {
            if patterned && fields.get(field).is_some() {
                return Err(Error::format(format!(
                    "adapter_config.json: field `{field}` needs target_modules to be a list"
                )));
            }
        }
        common.selection.layers = Layers::read(fields)?;
        let lora = Self {
            r: fields.size("r", Some(8), MAX_RANK)?,
            lora_alpha: match fields.take_any("lora_alpha") {
                Some(Json::Number(0.0)) => {
                    return Err(wrong("lora_alpha", &Json::Number(0.0), "another number"));
                }
                Some(alpha) => number("lora_alpha", &alpha)?,
                None => 8.0,
            },
            use_rslora: fields.switch("use_rslora")?,
            use_dora: fields.switch("use_dora")?,
            lora_bias: fields.switch("lora_bias")?,
            ensure_weight_tying: fields.switch("ensure_weight_tying")?,
            trainable_token_indices: read_token_rows(fields)?,
            rank_pattern: fields.patterns("rank_pattern", |name, rank| in_range(name, rank, 1..=MAX_RANK))?,
            alpha_pattern: fields.patterns("alpha_pattern", number)?,
        };
        if lora.lora_bias && lora.use_dora {
            return Err(Error::format(
                "adapter_config.json: fields `lora_bias` and `use_dora` exclude each other",
            ));
        }
        Ok(lora)
    }

    fn write(&self, common: &Common, fields: &mut Written) {
        common.write_maps(fields);
        common.write_bias(fields, "lora_only");
        fields.always("init_lora_weights", Json::Bool(true));
        fields.always("lora_alpha", Json::Number(self.lora_alpha));
        fields.always("lora_dropout", Json::Number(0.0));
        fields.always("r", self.r.into());
        fields.add("ensure_weight_tying", Json::Bool(self.ensure_weight_tying));
        fields.add("lora_bias", Json::Bool(self.lora_bias));
        fields.add("use_dora", Json::Bool(self.use_dora));
        fields.add("use_rslora", Json::Bool(self.use_rslora));
        fields.patterns("rank_pattern", &self.rank_pattern, |&rank| rank.into());
        fields.patterns("alpha_pattern", &self.alpha_pattern, |&alpha| Json::Number(alpha));
        let ids = |ids: &[u32]| Json::List(ids.iter().map(|&id| Json::Number(f64::from(id))).collect());
        match self.trainable_token_indices.as_slice() {
            [] => {}
            [rows] if rows.module.is_none() => fields.always("trainable_token_indices", ids(&rows.indices)),
            all => {
                let entry = |rows: &TokenRows| Some((rows.module.clone()?, ids(&rows.indices)));
                fields.always("trainable_token_indices", Json::Object(all.iter().filter_map(entry).collect()));
            }
        }
    }

    fn place<'a>(&self, name: Path<'a>) -> Option<(&'a str, Role)> {
        let role = |role: Role| move |module| (module, role);
        let plain = [("lora_A", "weight"), ("lora_B", "weight"), ("lora_embedding_A", ""), ("lora_embedding_B", "")];
        let mut plain = plain.into_iter();
        plain
            .find_map(|(word, parameter)| name.strip(word, parameter).map(role(word)))
            .or_else(|| name.strip("lora_B", "bias").filter(|_| self.lora_bias).map(role("lora_B.bias")))
            // The vector was a parameter, then a layer's weight, and is saved as a parameter.
            .or_else(|| {
                let module = name.strip(MAGNITUDE, "").or_else(|| name.strip(MAGNITUDE, "weight"));
                module.filter(|_| self.use_dora).map(role(MAGNITUDE))
            })
            // LoRA-XS calls it `default_lora_latent_mapping`, of which older PEFTs cut `.default`.
            .or_else(|| {
                let front = Some(name.front).filter(|_| name.last == "weight")?;
                let module = before(front, "default_lora_latent_mapping");
                let module = module.or_else(|| front.strip_suffix("_lora_latent_mapping"));
                module.filter(|module| !module.is_empty()).map(role("lora_latent_mapping"))
            })
            .or_else(|| {
                let module = before(name.strip(TOKEN_DELTA, "")?, "token_adapter");
                module.filter(|_| !self.trainable_token_indices.is_empty()).map(role(TOKEN_DELTA))
            })
    }

    fn rank(&self, module: &str) -> Option<usize> {
        Some(first(&self.rank_pattern, module).unwrap_or(self.r))
    }

    /// alpha / R, or alpha / √R with `use_rslora`
    fn scale(&self, module: &str) -> f32 {
        let alpha = first(&self.alpha_pattern, module).unwrap_or(self.lora_alpha);
        let r = first(&self.rank_pattern, module).unwrap_or(self.r);
        (alpha / self.divisor(r)) as f32
    }

    fn token_rows(&self, module: &str, is_input_embedding: bool) -> Option<&[u32]> {
        let fits = |rows: &&TokenRows| match &rows.module {
            Some(end) => module.ends_with(end.as_str()),
            None => is_input_embedding,
        };
        self.trainable_token_indices.iter().find(fits).map(|rows| rows.indices.as_slice())
    }

    fn ties(&self) -> bool {
        self.ensure_weight_tying
    }

    async fn act(
        &self,
        base: &mut Base<'_>,
        delta: &mut ModuleDelta,
        roles: &mut Roles,
        _shared: &Roles,
        _adapter: &mut Adapter,
    ) -> Result<()> {
        let is_table = delta.module == base.model.weights.embedding();
        let [a, b] = if is_table { ["lora_embedding_A", "lora_embedding_B"] } else { ["lora_A", "lora_B"] };
        if !roles.contains_key(a) && !roles.contains_key(b) {
            // It comes with those only.
            roles.remove(MAGNITUDE);
            return Ok(());
        }
        delta.rank = self.rank(&delta.module).unwrap_or_default();
        delta.scale = self.scale(&delta.module);
        let (a, b) = (find(roles, a, &delta.module)?, find(roles, b, &delta.module)?);
        if is_table {
            return self.on_table(base, delta, a, b, roles).await;
        }
        let (rank, [inputs, outputs]) = (delta.rank, base.shape(&delta.module)?);
        a.expect(&[rank, inputs])?;
        b.expect(&[outputs, rank])?;
        (delta.a, delta.b) = (a.numbers, b.numbers);
        if let Some(core) = roles.remove("lora_latent_mapping") {
            core.expect(&[rank, rank])?;
            delta.b = product(&delta.b.values(), &core.values(), rank).into();
        }
        if let Some(bias) = roles.remove("lora_B.bias") {
            bias.expect(&[outputs])?;
            delta.shift = bias.values().iter().map(|b| b * delta.scale).collect();
        }
        if self.use_dora {
            let magnitude = find(roles, MAGNITUDE, &delta.module)?;
            magnitude.expect(&[outputs])?;
            renormalise(base, delta, &magnitude.values()).await?;
        }
        Ok(())
    }
}

impl Lora {
    /// On the embedding: row v ← row v + scale · B A[:, v], A (R, V) and B (C, R); and with a magnitude m
    /// (C) each column c of the table renormalised to m[c].
    async fn on_table(
        &self,
        base: &mut Base<'_>,
        delta: &mut ModuleDelta,
        a: Tensor,
        b: Tensor,
        roles: &mut Roles,
    ) -> Result<()> {
        let (v, c) = (base.model.config.vocab_size, base.model.config.hidden_size);
        let rank = delta.rank;
        if let [r, n] = a.shape[..]
            && r == rank
            && n > v
        {
            return Err(a.added(n, n - v));
        }
        a.expect(&[rank, v])?;
        b.expect(&[c, rank])?;
        (delta.a, delta.b) = (a.numbers, b.numbers);
        if !self.use_dora {
            return Ok(());
        }
        let magnitude = find(roles, MAGNITUDE, &delta.module)?;
        magnitude.expect(&[c])?;
        let (a, b) = (delta.a.values(), delta.scaled_b());
        let mut squares = vec![0.0f64; c];
        base.each_row(&delta.module, |token, row| {
            for (i, square) in squares.iter_mut().enumerate() {
                let update: f32 = (0..rank).map(|r| b[i * rank + r] * a[r * v + token]).sum();
                *square += f64::from(row[i] + update).powi(2);
            }
        })
        .await?;
        put_norms(delta, &magnitude.values(), &squares);
        Ok(())
    }
}

/// DoRA: y = m / ‖W + scale·B·A‖ · (W x + scale · B (A x)), norms row by row.
async fn renormalise(base: &mut Base<'_>, delta: &mut ModuleDelta, magnitude: &[f32]) -> Result<()> {
    let (rank, a, b) = (delta.rank, delta.a.values(), delta.scaled_b());
    let mut squares = Vec::with_capacity(magnitude.len());
    base.each_row(&delta.module, |row, w| {
        let b = &b[row * rank..][..rank];
        let square = |c: usize| {
            let update: f32 = (0..rank).map(|r| b[r] * a[r * w.len() + c]).sum();
            f64::from(w[c] + update).powi(2)
        };
        squares.push((0..w.len()).map(square).sum());
    })
    .await?;
    put_norms(delta, magnitude, &squares);
    Ok(())
}

/// Puts m / √squares into the gain and the factors of B's rows.
fn put_norms(delta: &mut ModuleDelta, magnitude: &[f32], squares: &[f64]) {
    delta.rows = magnitude.iter().zip(squares).map(|(m, square)| m / square.sqrt() as f32).collect();
    delta.gain = delta.rows.iter().map(|factor| factor - 1.0).collect();
}

/// Refuses A and B that were cut out of the base's weights: they fit only what was left.
fn refuse_changed_base(fields: &mut Fields) -> Result<()> {
    let init = match fields.take("init_lora_weights") {
        None | Some(Json::Bool(_)) => return Ok(()),
        Some(Json::String(name)) => name,
        Some(other) => return Err(wrong("init_lora_weights", &other, "true, false or a name")),
    };
    let lower = init.to_ascii_lowercase();
    let why = match lower.as_str() {
        "gaussian" | "eva" | "orthogonal" | "mica" => return Ok(()),
        "loftq" => "its A and B fit only the base that LoftQ quantised",
        "olora" | "lora_ga" => CUT_OUT,
        name if name.starts_with("pissa") || name.starts_with("corda") => CUT_OUT,
        _ => "it is unknown and may have changed the base",
    };
    Err(Error::unsupported(format!("adapter_config.json: field `init_lora_weights` is \"{init}\": {why}")))
}

fn read_token_rows(fields: &mut Fields) -> Result<Vec<TokenRows>> {
    const FIELD: &str = "trainable_token_indices";
    let rows = |module: Option<String>, list: &Json| {
        let ids = |list: &Json| -> Option<Vec<u32>> {
            let Json::List(items) = list else { return None };
            items.iter().map(|id| id.as_integer().and_then(|id| u32::try_from(id).ok())).collect()
        };
        let indices = ids(list).ok_or_else(|| wrong(FIELD, list, "a list of token ids"))?;
        let mut sorted = indices.clone();
        sort_by_key(&mut sorted, |id| *id);
        if let Some([id, ..]) = sorted.windows(2).find(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Error::format(format!("adapter_config.json: field `{FIELD}` holds {id} twice")));
        }
        Ok(TokenRows { module, indices })
    };
    match fields.take(FIELD) {
        None => Ok(Vec::new()),
        Some(Json::Object(entries)) => {
            entries.into_iter().map(|(module, list)| rows(Some(module), &list)).collect()
        }
        Some(list) => Ok(vec![rows(None, &list)?]),
    }
}

/// b (F, R) · core (R, R)
fn product(b: &[f32], core: &[f32], rank: usize) -> Vec<f32> {
    let row = |b: &[f32]| -> Vec<f32> {
        (0..rank).map(|to| (0..rank).map(|from| b[from] * core[from * rank + to]).sum()).collect()
    };
    b.chunks_exact(rank).flat_map(row).collect()
}
