//! What the benchmark of adapters found, as a table or as JSON.
//! Not the measuring.

use serde::Serialize;
use serde_json::json;

use super::random::Shape;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Time over time.
    #[serde(rename = "x")]
    Ratio,
    #[serde(rename = "ms")]
    Ms,
    #[serde(rename = "us")]
    Us,
    #[serde(rename = "bytes")]
    Bytes,
    /// Steps of a plan; on a GPU each is a dispatch.
    #[serde(rename = "steps")]
    Steps,
}

/// One line of the table.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: Unit,
    /// What the bytes to be read alone would give.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<f64>,
    /// Most that we want.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<f64>,
}

impl Measure {
    pub(crate) fn new(name: &'static str, unit: Unit, value: f64) -> Self {
        Self { name, value, unit, floor: None, target: None }
    }

    pub(crate) fn floor(self, floor: f64) -> Self {
        Self { floor: Some(floor), ..self }
    }

    pub(crate) fn target(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }
}

/// Elements that a token reads, of which the least time a step can take follows where memory is
/// the limit. Keys and values are left out: they are the same on both sides of a ratio.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floors {
    /// Of the base.
    pub(crate) weights: usize,
    /// Of those, in the head.
    pub(crate) head: usize,
    /// A and B of one adapter.
    pub(crate) adapter: usize,
}

impl Floors {
    /// (W + n·AB) / W
    pub(crate) fn decode(self, adapters: usize) -> f64 {
        1.0 + (adapters * self.adapter) as f64 / self.weights as f64
    }

    /// Multiplications with an adapter over those without, the head apart: a long prompt is
    /// limited by them and not by bytes.
    pub(crate) fn prefill(self) -> f64 {
        1.0 + self.adapter as f64 / (self.weights - self.head) as f64
    }

    /// (W + n·AB) / (n·(W + AB)): the base is read once for all rows.
    pub(crate) fn batch(self, rows: usize) -> f64 {
        self.decode(rows) / (rows as f64 * self.decode(1))
    }
}

/// The result of one run.
#[derive(Debug)]
pub(crate) struct Report {
    /// `cpu`, or what the GPU calls itself.
    pub(crate) device: String,
    pub(crate) shape: Shape,
    pub(crate) tokens: usize,
    pub(crate) runs: usize,
    pub(crate) measures: Vec<Measure>,
}

impl Report {
    /// Prints the table, or one JSON object.
    pub(crate) fn print(&self, as_json: bool) {
        let Self { device, shape: Shape { layers, vocab, rank }, tokens, runs, measures } = self;
        if as_json {
            let report = json!({
                "device": device, "layers": layers, "vocab": vocab, "rank": rank,
                "tokens": tokens, "runs": runs, "measures": measures,
            });
            println!("{report}");
            return;
        }
        println!("{device}: {layers} layers of SmolLM2-135M's shape, vocabulary {vocab}, rank {rank}");
        println!("medians of {runs} rounds, {tokens} tokens each; a batch draws what its rows draw alone\n");
        println!("{:34}{:>10}{:>14}{:>8}{:>8}", "", "", "", "floor", "target");
        measures.iter().for_each(|measure| println!("{measure}"));
    }
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, unit, floor, target } = self;
        let (digits, unit) = match unit {
            Unit::Ratio => (3, "x"),
            Unit::Ms => (2, "ms"),
            Unit::Us => (1, "us"),
            Unit::Bytes => (0, "bytes"),
            Unit::Steps => (0, ""),
        };
        write!(f, "{name:34}{value:10.digits$} {unit:13}")?;
        let Some(floor) = floor else { return Ok(()) };
        write!(f, "{floor:8.3}")?;
        let Some(target) = target else { return Ok(()) };
        write!(f, "{target:8.2}  {}", if value <= target { "met" } else { "missed" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_count_what_is_read() {
        let floors = Floors { weights: 1000, head: 200, adapter: 50 };
        assert_eq!(floors.decode(1), 1.05);
        assert_eq!(floors.decode(4), 1.2);
        assert_eq!(floors.prefill(), 1.0625);
        // 8 rows: 1000 + 8·50 = 1400 elements, against 8·1050 = 8400.
        assert!((floors.batch(8) - 1400.0 / 8400.0).abs() < 1e-12);
    }

    #[test]
    fn a_line_says_whether_its_target_is_met() {
        let line = |value| Measure::new("decode", Unit::Ratio, value).floor(1.1).target(1.25).to_string();
        assert!(line(1.2).ends_with("1.25  met"), "{}", line(1.2));
        assert!(line(1.3).ends_with("1.25  missed"), "{}", line(1.3));
    }
}
