//! The rotation of queries and keys by their position (arXiv:2104.09864), in half-split pairs (i, i + E/2)
//! of the first E elements of a head.
//! Not the kernels that rotate: only the tables of angles they read.

/// How the heads of a layer are rotated.
#[derive(Clone, Debug, PartialEq)]
pub enum Rope {
    /// Not at all: cos 1, sin 0.
    Identity,
    /// By frequencies that fall geometrically.
    Rotary {
        /// Base of the geometric series of frequencies.
        theta: f64,
        /// Frequency correction, if the checkpoint asks for one.
        scaling: RopeScaling,
    },
}

/// Frequency corrections of rotary embeddings, as `rope_scaling` names them.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// None (`default`).
    None,
    /// Every frequency divided by `factor`.
    Linear {
        /// How much longer the context became.
        factor: f64,
    },
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a ramp between.
    Llama3 {
        /// Divisor of the long wavelengths.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context length of the original training.
        original_max_position_embeddings: f64,
    },
    /// Every frequency divided by a factor of its own; none while they are still to be read
    /// from the weights.
    Factors(
        /// (E/2)
        Vec<f32>,
    ),
    /// In a context longer than the original one a larger base, which leaves the highest frequency as it is.
    Dynamic {
        /// How much longer the context became.
        factor: f64,
        /// Context length of the original training.
        original: f64,
    },
    /// High frequencies kept, low ones divided, a ramp between (arXiv:2309.00071).
    Yarn(Yarn),
    /// Every frequency divided by a factor of its own, of which there are two: for contexts up to the
    /// original length and for longer ones (arXiv:2402.13753).
    LongRope {
        /// (E/2) each; none while they are still to be read from the weights.
        factors: [Vec<f32>; 2],
        /// Context length of the original training.
        original: f64,
        /// Factor on cos and sin.
        attention_factor: f64,
    },
}

/// Numbers of YaRN, as `rope_scaling` names them.
#[derive(Clone, Debug, PartialEq)]
pub struct Yarn {
    /// Divisor of the low frequencies.
    pub(crate) factor: f64,
    /// Factor on cos and sin.
    pub(crate) attention_factor: f64,
    /// Frequencies that turn so often in the original context are kept, and those that turn less often
    /// than the second are divided.
    pub(crate) betas: [f64; 2],
    /// Context length of the original training.
    pub(crate) original: f64,
    /// Whether the ramp begins and ends at whole indices.
    pub(crate) truncate: bool,
}

impl Yarn {
    /// The factor on cos and sin that belongs to a scaling: 0.1 · m · ln(scale) + 1.
    pub(crate) fn mscale(scale: f64, m: f64) -> f64 {
        if scale <= 1.0 { 1.0 } else { 0.1 * m * scale.ln() + 1.0 }
    }

    /// How much of frequency `i` of `dims / 2` is kept as it is: 1 is all.
    fn kept(&self, i: usize, dims: f64, theta: f64) -> f64 {
        let index =
            |turns: f64| dims * (self.original / (turns * std::f64::consts::TAU)).ln() / (2.0 * theta.ln());
        let [mut low, mut high] = self.betas.map(index);
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dims - 1.0));
        if low == high {
            high += 0.001;
        }
        1.0 - ((i as f64 - low) / (high - low)).clamp(0.0, 1.0)
    }
}

impl Rope {
    /// The rotation of each of `s` positions: row p is m·cos(p·f_i) for i in 0..E/2, then m·sin(p·f_i), with the
    /// scaling's factor m. Frequencies that depend on how long a text is are those of one as long as
    /// the context.
    ///
    /// -> (S, E). Angles are rounded to f32 as transformers rounds them.
    pub(crate) fn table(&self, s: usize, dims: usize) -> Vec<f32> {
        let frequencies: Vec<f32> = (0..dims / 2).map(|i| self.frequency(i, dims, s as f64)).collect();
        let m = match self {
            Self::Rotary { scaling: RopeScaling::Yarn(yarn), .. } => yarn.attention_factor,
            Self::Rotary { scaling: RopeScaling::LongRope { attention_factor, .. }, .. } => *attention_factor,
            _ => 1.0,
        };
        let mut table = Vec::with_capacity(s * dims);
        for pos in 0..s {
            let angles = frequencies.iter().map(|f| f64::from(pos as f32 * f));
            table.extend(angles.clone().map(|a| (m * a.cos()) as f32));
            table.extend(angles.map(|a| (m * a.sin()) as f32));
        }
        table
    }

    fn frequency(&self, i: usize, dims: usize, s: f64) -> f32 {
        let Self::Rotary { theta, scaling } = self else { return 0.0 };
        let power = |theta: f64| theta.powf(-(2.0 * i as f64) / dims as f64);
        let of = |factors: &[f32]| factors.get(i).map_or(1.0, |&factor| factor.into());
        let base = power(*theta);
        let scaled = match scaling {
            RopeScaling::None => base,
            RopeScaling::Factors(factors) => base / of(factors),
            RopeScaling::LongRope { factors: [short, long], original, .. } => {
                base / of(if s > *original { long } else { short })
            }
            RopeScaling::Dynamic { factor, original } => {
                let dims = dims as f64;
                let longer = factor * s.max(*original) / original - (factor - 1.0);
                power(theta * longer.powf(dims / (dims - 2.0)))
            }
            RopeScaling::Yarn(yarn) => {
                let kept = yarn.kept(i, dims as f64, *theta);
                base / yarn.factor * (1.0 - kept) + base * kept
            }
            RopeScaling::Linear { factor } => base / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original,
            } => {
                let wavelength = std::f64::consts::TAU / base;
                if wavelength < original / high_freq_factor {
                    base
                } else if wavelength > original / low_freq_factor {
                    base / factor
                } else {
                    let smooth =
                        (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * base / factor + smooth * base
                }
            }
        };
        scaled as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_0_and_the_identity_turn_nothing() {
        let rotary = Rope::Rotary { theta: 100.0, scaling: RopeScaling::None };
        let table = rotary.table(2, 4);
        assert_eq!(table[..4], [1.0, 1.0, 0.0, 0.0]);
        // Frequencies are 1 and 100^(-1/2), as f32 has it.
        let angles = [1.0, f64::from(0.1f32)];
        let want: Vec<f32> =
            angles.map(f64::cos).into_iter().chain(angles.map(f64::sin)).map(|x| x as f32).collect();
        assert_eq!(table[4..], want);
        assert_eq!(Rope::Identity.table(2, 4), [1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }

    /// As transformers scales them.
    #[test]
    fn frequencies_and_factors_are_transformers() {
        let cases: serde_json::Value =
            serde_json::from_str(include_str!("../../tests/fixtures/rope.json")).expect("JSON");
        for case in cases.as_array().expect("a list") {
            let model =
                crate::model::Blueprint::from_json(case["config"].to_string().as_bytes()).expect("valid");
            let (length, dims) = (case["length"].as_u64().expect("a length") as usize, model.rotary_dim);
            let want = case["frequencies"].as_array().expect("numbers");
            assert_eq!(want.len(), dims / 2, "{case}");
            let table = model.ropes[0].table(length, dims);
            let factor = case["attention_factor"].as_f64().expect("a number") as f32;
            for (i, want) in want.iter().map(|want| want.as_f64().expect("a number")).enumerate() {
                assert!((table[i] - factor).abs() < 1e-6, "{case}: position 0");
                let got = f64::from(model.ropes[0].frequency(i, dims, length as f64));
                assert!((got - want).abs() <= 2e-6 * want, "{case}: {got}, expected {want}");
            }
        }
    }
}
