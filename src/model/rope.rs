//! The rotation of queries and keys by their position (arXiv:2104.09864), in half-split pairs (i, i + D/2).
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
        /// (D/2)
        Vec<f32>,
    ),
}

impl Rope {
    /// The rotation of each of `s` positions: row p is cos(p·f_i) for i in 0..D/2, then sin(p·f_i).
    ///
    /// -> (S, D). Angles are rounded to f32 as transformers rounds them.
    pub(crate) fn table(&self, s: usize, head_dim: usize) -> Vec<f32> {
        let frequencies: Vec<f32> = (0..head_dim / 2).map(|i| self.frequency(i, head_dim)).collect();
        let mut table = Vec::with_capacity(s * head_dim);
        for pos in 0..s {
            let angles = frequencies.iter().map(|f| f64::from(pos as f32 * f));
            table.extend(angles.clone().map(|a| a.cos() as f32));
            table.extend(angles.map(|a| a.sin() as f32));
        }
        table
    }

    fn frequency(&self, i: usize, head_dim: usize) -> f32 {
        let Self::Rotary { theta, scaling } = self else { return 0.0 };
        let base = theta.powf(-(2.0 * i as f64) / head_dim as f64);
        let scaled = match scaling {
            RopeScaling::None => base,
            RopeScaling::Factors(factors) => base / factors.get(i).map_or(1.0, |&f| f.into()),
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
}
