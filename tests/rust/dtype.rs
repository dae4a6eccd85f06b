//! Packed weights: their rounding against ggml's, and every use of them against f32 weights of the
//! same numbers.

use crate::common::models::LLAMA;
use crate::common::one_op::OneOp;
use crate::common::{Fixture, Tolerance, assert_close, backends_and_variants, gpu_with, misfit, noise};
use half::f16;
use lorakeet::ErrorKind;
use lorakeet::backend::Backend;
use lorakeet::backend::cpu::{Cpu, Kernels};
use lorakeet::backend::gpu::GpuOptions;
use lorakeet::dtype::Dtype;
use lorakeet::engine::{Choice, Engine, EngineOptions, Loader, Optimizer, TrainingRoom, Window};
use lorakeet::format::safetensors::Header;
use lorakeet::format::{SourceDtype, TensorData, TensorInfo, write};
use lorakeet::ops::{self, Slice};
use lorakeet::plan::{Row, Tensors};
use lorakeet::widen::Blocks;
use serde_json::{Value, json};
use wasm_bindgen_test::wasm_bindgen_test;

const SUMS: Tolerance = Tolerance { abs: 2e-5, rel: 2e-5 };

fn packed(dtype: Dtype, c: usize, values: &[f32]) -> Vec<u32> {
    if let Some(blocks) = of_files(dtype) {
        return dtype.from_stored(&stored(blocks, values), c);
    }
    let mut words = Vec::new();
    values.chunks_exact(c).for_each(|row| dtype.pack(row, &mut words));
    words
}

/// What is left of values after packing.
fn rounded(dtype: Dtype, c: usize, values: &[f32]) -> Vec<f32> {
    let mut rounded = vec![0.0; values.len()];
    dtype.unpack(&packed(dtype, c, values), c, &mut rounded);
    rounded
}

/// The blocks of a type that files alone make.
fn of_files(dtype: Dtype) -> Option<Blocks> {
    if dtype.can_pack() {
        None
    } else {
        Blocks::ALL.into_iter().find(|blocks| blocks.held() == dtype && *blocks != Blocks::Q3K)
    }
}

/// Blocks for as many numbers, about as large: `q4_1` as ggml's `quantize_row_q4_1_ref` rounds to it, of the
/// other types some with codes and scales of any value.
fn stored(blocks: Blocks, values: &[f32]) -> Vec<u8> {
    // Where a block has its halves, and the size of its numbers in units of the first; the second makes
    // their mean about zero.
    let (d, least, size) = match blocks {
        Blocks::Q4_1 => return q4_1(values),
        Blocks::Q5_0 => (0, None, 16.0),
        Blocks::Q5_1 => (0, Some((2, -15.5)), 16.0),
        Blocks::Q4K => (0, Some((2, 7.5)), 480.0),
        Blocks::Q5K => (0, Some((2, 15.5)), 960.0),
        Blocks::Q6K => (208, None, 4096.0),
        Blocks::Q2K => (80, Some((82, 1.5)), 23.0),
        Blocks::Iq4Xs => (0, None, 4064.0),
        _ => panic!("{blocks:?} is not a type that files alone make"),
    };
    let (elements, len) = blocks.size();
    let mut bytes = Vec::new();
    for (i, values) in values.chunks_exact(elements).enumerate() {
        let most = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        let first = bytes.len();
        // The low bits of numbers that are made up are as good as any.
        bytes.extend((0..len).map(|j| (values[j % elements].to_bits() >> (j / elements * 8)) as u8));
        let mut put = |at: usize, half: f32| {
            bytes[first + at..][..2].copy_from_slice(&f16::from_f32(half).to_le_bytes());
        };
        let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
        put(d, sign * most / size);
        if let Some((at, times)) = least {
            put(at, sign * times * most / size);
        }
    }
    bytes
}

/// As ggml's `quantize_row_q4_1_ref` rounds.
fn q4_1(values: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in values.as_chunks::<32>().0 {
        let least = block.iter().copied().fold(f32::INFINITY, f32::min);
        let scale = (block.iter().copied().fold(f32::NEG_INFINITY, f32::max) - least) / 15.0;
        let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
        let code = |x: f32| (((x - least) * inverse + 0.5) as u8).min(15);
        bytes.extend([scale, least].map(|half| f16::from_f32(half).to_le_bytes()).as_flattened());
        bytes.extend((0..16).map(|i| code(block[i]) | code(block[i + 16]) << 4));
    }
    bytes
}

#[wasm_bindgen_test(unsupported = test)]
fn blocks_are_the_gguf_packages() {
    let fixture = Fixture::new(include_bytes!("../fixtures/ops/blocks.safetensors"));
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for blocks in Blocks::ALL {
        let name = blocks.name();
        let (stored, want) =
            (fixture.bytes(&format!("{name}.bytes")), fixture.f32(&format!("{name}.values")));
        let (elements, bytes) = blocks.size();
        assert_eq!((stored.len() / bytes, want.len() / elements), (6, 6), "{name}");
        assert_eq!(bits(&blocks.widen(&stored)), bits(&want), "{name}");
        assert_eq!(Blocks::from_name(name), Some(blocks));
        let scaled = matches!(blocks, Blocks::Q8_0 | Blocks::Q4_0 | Blocks::Q5_0 | Blocks::Iq4Nl);
        let q8 = blocks.stored_as(Dtype::Q8, &stored);
        assert_eq!(q8.is_some(), scaled, "{name}");
        if let Some(q8) = q8 {
            assert_eq!(bits(&Blocks::Q8_0.widen(&q8)), bits(&want), "{name} in blocks of 8 bits");
        }
        // As they are held, in rows of any width.
        let held = blocks.held();
        for c in [32, 64, 96, 192, 256, 512, 768, 1536]
            .into_iter()
            .filter(|&c| held.fits(c) && want.len().is_multiple_of(c))
        {
            let words = held.from_stored(&blocks.stored_as(held, &stored).expect("its own type"), c);
            let mut got = vec![0.0; want.len()];
            held.unpack(&words, c, &mut got);
            assert_eq!(bits(&got), bits(&want), "{name} held as {held:?}, {c} columns");
        }
    }
    assert_eq!(Blocks::from_name("IQ1_S"), None);
}

/// Blocks of 4 bits that are asked for as q8 keep their scales: nothing is rounded again.
#[wasm_bindgen_test(unsupported = test)]
fn a_wider_type_takes_blocks_over() {
    let fixture = Fixture::new(include_bytes!("../fixtures/ops/dtype.safetensors"));
    let (q4, want) = (fixture.bytes("q4.bytes"), fixture.f32("q4.values"));
    let stored = SourceDtype::Blocks(Blocks::Q4_0).stored_as(Dtype::Q8, &q4).expect("8 bits hold 4");
    let mut got = vec![0.0; want.len()];
    Dtype::Q8.unpack(&Dtype::Q8.from_stored(&stored, 192), 192, &mut got);
    assert_eq!(got, want);
    assert_ne!(rounded(Dtype::Q8, 192, &want), want, "packed anew they are rounded");
    for (stored, asked) in [
        (SourceDtype::Blocks(Blocks::Q8_0), Dtype::Q4),
        (SourceDtype::Blocks(Blocks::Q6K), Dtype::Q8),
        (SourceDtype::Blocks(Blocks::Q4_1), Dtype::Q8),
        (SourceDtype::Blocks(Blocks::Q4_0), Dtype::Q4_1),
        (SourceDtype::Blocks(Blocks::Q5K), Dtype::Q6K),
        (SourceDtype::F16, Dtype::Q8),
        (SourceDtype::F32, Dtype::F16),
    ] {
        assert_eq!(stored.stored_as(asked, &[0; 420]), None, "{stored} as {asked:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn rounding_is_ggmls() {
    let fixture = Fixture::new(include_bytes!("../fixtures/ops/dtype.safetensors"));
    let (x, c) = (fixture.f32("x"), 192);
    for dtype in [Dtype::F16, Dtype::Q8, Dtype::Q4, Dtype::Q4_1] {
        let want = fixture.f32(&format!("{}.values", dtype.name()));
        assert_eq!(rounded(dtype, c, &x), want, "{dtype:?}");
        assert_eq!(packed(dtype, c, &want), packed(dtype, c, &x), "{dtype:?}: packing again changes nothing");
        assert_ne!(want, x, "{dtype:?} rounds");
    }
    for dtype in [Dtype::Q8, Dtype::Q4, Dtype::Q4_1] {
        let stored = fixture.bytes(&format!("{}.bytes", dtype.name()));
        assert_eq!(dtype.from_stored(&stored, c), packed(dtype, c, &x), "{dtype:?} from a file");
    }
    assert!(Dtype::Q8.fits(64) && !Dtype::Q8.fits(96) && Dtype::F32.fits(7));
    assert!(Dtype::Q4_1.fits(96) && !Dtype::Q4_1.fits(48));
    assert!(Dtype::Q5_0.fits(96) && Dtype::Q6K.fits(768) && !Dtype::Q4K.fits(128));
}

/// What files alone make cannot be asked for.
#[wasm_bindgen_test(unsupported = test)]
fn types_by_name() {
    for (name, dtype) in [("f32", Dtype::F32), ("f16", Dtype::F16), ("q8", Dtype::Q8), ("q4", Dtype::Q4)] {
        assert_eq!((Dtype::from_name(name).expect("known"), dtype.name()), (dtype, name));
    }
    for name in ["q4_1", "q5", "u32", ""] {
        let error = Dtype::from_name(name).unwrap_err();
        let words = format!("dtype `{name}`, expected f32, f16, q8 or q4");
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Argument, words));
    }
}

/// The most that a device can bind is counted in bytes, of which packed elements have fewer.
#[wasm_bindgen_test(unsupported = test)]
fn a_packed_tensor_is_as_large_as_its_bytes() {
    let mut tensors = Tensors::default();
    // A vocabulary of 300,000 by 4,096: 4.9 GB in f32.
    let shape = [300_000, 4096];
    for dtype in Dtype::PACKED {
        let id = tensors.declare("w", dtype, &shape).unwrap_or_else(|e| panic!("{dtype:?}: {e}"));
        tensors.reshape(id, &shape).expect("the same again");
    }
    for (dtype, rows) in [(Dtype::F32, 300_000), (Dtype::F16, 600_000), (Dtype::Q4, 2_000_000)] {
        let error = tensors.declare("w", dtype, &[rows, 4096]).expect_err("past 4 GiB");
        let words = format!("tensor `w`: shape [{rows}, 4096] of {} is past 4 GiB", dtype.name());
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Memory, words));
    }
    let many = [1 << 15, 1 << 15, 1 << 15, 1 << 15];
    assert_eq!(tensors.declare("w", Dtype::Q4, &many).expect_err("overflows").kind(), ErrorKind::Memory);
}

/// Every kernel that reads a weight, at the edges of its tiles.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn ops_read_packed_weights() {
    for dtype in [Dtype::F32].into_iter().chain(Dtype::PACKED) {
        for (n, c, f, first) in [
            (1, 64, 257, 3),
            (5, 128, 33, 1),
            (8, 192, 9, 0),
            (35, 64, 65, 2),
            (9, 96, 34, 1),
            (1, 256, 35, 1),
            (7, 512, 9, 0),
            (34, 768, 5, 2),
        ] {
            // Blocks of 256 have widths of their own.
            if !dtype.fits(c) || dtype.fits(64) && c >= 256 {
                continue;
            }
            let stride = first + f + 1;
            let (x, dy) = (noise(1, n * c, 1.0), noise(2, n * stride, 1.0));
            let weight = noise(3, f * c, 1.0);
            let w = rounded(dtype, c, &weight);
            let sum = |terms: &mut dyn Iterator<Item = (f32, f32)>| -> f32 {
                terms.map(|(a, b)| f64::from(a) * f64::from(b)).sum::<f64>() as f32
            };
            let mut y = vec![7.0; n * stride];
            let mut dx = vec![0.0; n * c];
            for row in 0..n {
                for j in 0..f {
                    let pairs = x[row * c..][..c].iter().copied().zip(w[j * c..][..c].iter().copied());
                    y[row * stride + first + j] = sum(&mut pairs.into_iter());
                }
                for i in 0..c {
                    dx[row * c + i] = sum(&mut (0..f).map(|j| (dy[row * stride + first + j], w[j * c + i])));
                }
            }
            let tokens: Vec<usize> = (0..n).map(|row| (row * 7 + 1) % f).collect();
            let embedded: Vec<f32> = tokens.iter().flat_map(|&t| w[t * c..][..c].to_vec()).collect();
            let row = |&t: &usize| Row { token: (t + first) as u32, pos: 0, slot: 0, mix: 0 };
            let rows: Vec<Row> = tokens.iter().map(row).collect();
            for (name, mut backend) in backends_and_variants().await {
                let what = format!("{dtype:?} ({n}, {c}, {f}) on {name}");
                let mut one = OneOp::default();
                let id = one.packed("weight", dtype, &[f, c], &packed(dtype, c, &weight));
                let weight = Slice { tensor: id, first };
                let x = one.f32("x", &[n, c], &x);
                let y = one.output_over("y", &[n, stride], &vec![7.0; n * stride], &y);
                let op = ops::Linear { x, weight, bias: None, y, accumulate: false, delta: None };
                one.check(&mut backend, &format!("linear {what}"), op, n, SUMS).await;

                let mut one = OneOp::default();
                let packed = packed(dtype, c, &noise(3, f * c, 1.0));
                let weight = Slice { tensor: one.packed("weight", dtype, &[f, c], &packed), first };
                let dy = one.f32("dy", &[n, stride], &dy);
                let dx = one.output("dx", &[n, c], &dx);
                let op = ops::LinearGrad { dy, weight, dx, dx_first: 0, accumulate: false };
                one.check(&mut backend, &format!("linear_grad {what}"), op, n, SUMS).await;

                let mut one = OneOp::default();
                let table = Slice { tensor: one.packed("table", dtype, &[f, c], &packed), first };
                let rows = one.u32("rows", &[n, 4], bytemuck::cast_slice(&rows));
                let y = one.output("y", &[n, c], &embedded);
                let op = ops::Embed { rows, table, scale: 1.0, positions: None, y };
                one.check(&mut backend, &format!("embed {what}"), op, n, SUMS).await;
            }
        }
    }
}

/// A model of random weights whose maps read `width` columns, or twice as many.
struct RandomModel {
    width: usize,
    config: Value,
    /// Name and shape, of linear maps as stored.
    tensors: Vec<(String, Vec<usize>)>,
    /// Modules and their shapes (in, out).
    modules: Vec<(String, [usize; 2])>,
    /// Whether matrices of layers are stored (in, out).
    turned: bool,
}

const LAYERS: usize = 2;
const V: usize = 300;

fn llama_like(model_type: &str, c: usize, v: usize, with_bias: bool, tied: bool) -> RandomModel {
    let config = json!({
        "model_type": model_type, "hidden_act": "silu", "hidden_size": c, "intermediate_size": 2 * c,
        "num_hidden_layers": LAYERS, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": tied, "vocab_size": v, "eos_token_id": 0, "bos_token_id": 0,
    });
    let mut tensors = vec![("model.embed_tokens.weight".to_owned(), vec![v, c])];
    let mut modules = Vec::new();
    for l in 0..LAYERS {
        let maps = [
            ("self_attn.q_proj", c, c, with_bias),
            ("self_attn.k_proj", c, c / 2, with_bias),
            ("self_attn.v_proj", c, c / 2, with_bias),
            ("self_attn.o_proj", c, c, false),
            ("mlp.gate_proj", c, 2 * c, false),
            ("mlp.up_proj", c, 2 * c, false),
            ("mlp.down_proj", 2 * c, c, false),
        ];
        for (name, inputs, outputs, bias) in maps {
            let name = format!("model.layers.{l}.{name}");
            tensors.push((format!("{name}.weight"), vec![outputs, inputs]));
            if bias {
                tensors.push((format!("{name}.bias"), vec![outputs]));
            }
            modules.push((name, [inputs, outputs]));
        }
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            tensors.push((format!("model.layers.{l}.{norm}.weight"), vec![c]));
        }
    }
    tensors.push(("model.norm.weight".to_owned(), vec![c]));
    if !tied {
        tensors.push(("lm_head.weight".to_owned(), vec![v, c]));
    }
    RandomModel { width: c, config, tensors, modules, turned: false }
}

fn gpt2() -> RandomModel {
    let config = json!({
        "model_type": "gpt2", "n_embd": 64, "n_layer": LAYERS, "n_head": 4, "n_positions": 128, "n_inner": 128,
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "vocab_size": V,
        "eos_token_id": 0, "bos_token_id": 0,
    });
    let mut tensors = vec![("wte.weight".to_owned(), vec![V, 64]), ("wpe.weight".to_owned(), vec![128, 64])];
    let mut modules = Vec::new();
    for l in 0..LAYERS {
        let maps = [
            ("attn.c_attn", 64, 192),
            ("attn.c_proj", 64, 64),
            ("mlp.c_fc", 64, 128),
            ("mlp.c_proj", 128, 64),
        ];
        for (name, inputs, outputs) in maps {
            let name = format!("h.{l}.{name}");
            tensors.push((format!("{name}.weight"), vec![inputs, outputs]));
            tensors.push((format!("{name}.bias"), vec![outputs]));
            modules.push((format!("transformer.{name}"), [inputs, outputs]));
        }
        for norm in [format!("h.{l}.ln_1"), format!("h.{l}.ln_2")] {
            tensors.extend(["weight", "bias"].map(|what| (format!("{norm}.{what}"), vec![64])));
        }
    }
    tensors.extend(["weight", "bias"].map(|what| (format!("ln_f.{what}"), vec![64])));
    RandomModel { width: 64, config, tensors, modules, turned: true }
}

/// One of each family; of 256 columns only for types that need them; in a browser,
/// whose GPU is slow, the first two.
fn models() -> Vec<(&'static str, RandomModel)> {
    let mut models = vec![
        ("llama", llama_like("llama", 64, V, false, true)),
        ("wide llama", llama_like("llama", 256, V, false, true)),
        ("qwen2", llama_like("qwen2", 64, V, true, false)),
        ("gpt2", gpt2()),
    ];
    if cfg!(target_arch = "wasm32") {
        models.truncate(2);
    }
    models
}

fn transposed(x: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    (0..cols).flat_map(|c| (0..rows).map(move |r| x[r * cols + c])).collect()
}

impl RandomModel {
    /// Numbers of each tensor, as they are stored.
    fn values(&self) -> impl Iterator<Item = Vec<f32>> {
        self.tensors.iter().zip(10..).map(|((name, shape), seed)| {
            let [rows, cols] = shape[..] else {
                let shift = if name.ends_with("bias") { 0.0 } else { 1.0 };
                return noise(seed, shape[0], 0.3).into_iter().map(|x| x + shift).collect();
            };
            noise(seed, rows * cols, 2.0 * (cols as f32).powf(-0.5))
        })
    }

    /// A safetensors file; `dtype` rounds the matrices that the engine would pack.
    fn weights(&self, dtype: Dtype) -> Vec<u8> {
        let values = self.tensors.iter().zip(self.values()).map(|((name, shape), values)| {
            let [rows, cols] = shape[..] else { return values };
            let turned = self.turned && name.starts_with("h.");
            if name == "wpe.weight" {
                values // stays f32
            } else if turned {
                transposed(&rounded(dtype, rows, &transposed(&values, rows, cols)), cols, rows)
            } else {
                rounded(dtype, cols, &values)
            }
        });
        let values: Vec<Vec<f32>> = values.collect();
        file(&self.tensors, &values)
    }

    /// The numbers that `dtype` leaves, held as it or as f32.
    fn open(&self, backend: Backend, dtype: Dtype, held_as: Dtype) -> Engine {
        let options = EngineOptions {
            batch: Some(2),
            context_length: Some(32),
            dtype: Some(held_as),
            ..EngineOptions::default()
        };
        let config = self.config.to_string().into_bytes();
        let mut loader =
            Loader::new(&config, None, LLAMA.tokenizer, backend, &options).expect("a valid config");
        match of_files(dtype) {
            None => crate::common::models::load(&mut loader, &self.weights(dtype)).expect("valid weights"),
            Some(blocks) => self.load_blocks(blocks, &mut loader),
        }
        loader.finish().expect("complete")
    }

    /// Loads matrices in a type that files alone make.
    fn load_blocks(&self, blocks: Blocks, loader: &mut Loader) {
        for ((name, shape), values) in self.tensors.iter().zip(self.values()) {
            let (dtype, bytes) = match shape.len() {
                1 => (SourceDtype::F32, bytemuck::cast_slice(&values).to_vec()),
                _ => (SourceDtype::Blocks(blocks), stored(blocks, &values)),
            };
            let (name, shape, end) = (name.clone(), shape.clone(), bytes.len() as u64);
            let info = TensorInfo { name, dtype, shape, start: 0, end };
            for piece in loader.pieces(&info).expect("the model has it") {
                loader.load(&piece, piece.bytes_in(&bytes).expect("inside")).expect("valid");
            }
        }
    }

    /// Packed types that its matrices can have: those that are turned come as numbers. In a browser two of them: all are
    /// judged there op by op.
    fn types(&self) -> impl Iterator<Item = Dtype> {
        let is_wide = self.width > 64;
        let types = Dtype::PACKED.into_iter().filter(|dtype| dtype.can_pack() || !self.turned);
        let types = types.filter(move |dtype| dtype.fits(64) != is_wide);
        types.take(if cfg!(target_arch = "wasm32") { 2 } else { usize::MAX })
    }

    /// A LoRA of rank 3 on every map, B not zero; DoRA if `dora`.
    fn lora(&self, dora: bool) -> (Vec<u8>, Vec<u8>) {
        let mut targets: Vec<&str> =
            self.modules.iter().filter_map(|(name, _)| name.rsplit('.').next()).collect();
        targets.sort_unstable();
        targets.dedup();
        let config = json!({
            "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 3, "lora_alpha": 6, "target_modules": targets,
            "use_dora": dora, "fan_in_fan_out": self.turned,
        });
        let (mut tensors, mut values) = (Vec::new(), Vec::new());
        for ((module, [inputs, outputs]), seed) in self.modules.iter().zip((100..).step_by(3)) {
            let name = |what: &str| format!("base_model.model.{module}.{what}");
            tensors.push((name("lora_A.weight"), vec![3, *inputs]));
            values.push(noise(seed, 3 * inputs, 0.2));
            tensors.push((name("lora_B.weight"), vec![*outputs, 3]));
            values.push(noise(seed + 1, outputs * 3, 0.2));
            if dora {
                tensors.push((name("lora_magnitude_vector.weight"), vec![*outputs]));
                values.push(noise(seed + 2, *outputs, 0.5).into_iter().map(|x| x + 1.0).collect());
            }
        }
        (config.to_string().into_bytes(), file(&tensors, &values))
    }
}

fn file(tensors: &[(String, Vec<usize>)], values: &[Vec<f32>]) -> Vec<u8> {
    let tensors = tensors.iter().zip(values);
    let list: Vec<_> =
        tensors.map(|((name, shape), v)| (name.clone(), shape.clone(), TensorData::F32(v))).collect();
    write(&list, &Default::default()).expect("valid tensors")
}

const IDS: [u32; 12] = [5, 90, 17, 203, 41, 8, 8, 120, 299, 66, 1, 31];

fn tolerance(backend: &str) -> Tolerance {
    Tolerance { abs: if backend.contains("gpu") { 1e-3 } else { 1e-4 }, rel: 0.0 }
}

/// Each backend twice.
async fn pairs() -> Vec<(&'static str, Backend, Backend)> {
    let (left, right) = (crate::common::backends().await, crate::common::backends().await);
    left.into_iter().zip(right).map(|((name, a), (_, b))| (name, a, b)).collect()
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn packed_models_equal_f32_ones_of_the_same_numbers() {
    for (family, model) in models() {
        for dtype in model.types() {
            let mut plain = Vec::new();
            for (name, backend, other) in pairs().await {
                let what = format!("{family} {dtype:?} on {name}");
                let mut engine = model.open(backend, dtype, dtype);
                let mut judge = model.open(other, dtype, Dtype::F32);
                let bytes = |engine: &Engine| engine.model().tensors.total_bytes();
                assert!(bytes(&engine) < bytes(&judge), "{what} takes less room");
                for n in [1, 5, IDS.len()] {
                    let got = engine.logits(&IDS[..n]).await.expect("it fits");
                    let want = judge.logits(&IDS[..n]).await.expect("it fits");
                    assert_close(&format!("{what}, {n} ids"), &got, &want, tolerance(name));
                }
                for dora in [false, true] {
                    let (config, weights) = model.lora(dora);
                    let on: Choice = vec![("x".to_owned(), 0.7)];
                    for engine in [&mut engine, &mut judge] {
                        engine.load_adapter("x", &config, &weights).await.expect("fits");
                        engine.set_adapter(on.clone()).expect("loaded");
                    }
                    let got = engine.logits(&IDS).await.expect("it fits");
                    let want = judge.logits(&IDS).await.expect("it fits");
                    assert_close(&format!("{what}, adapted"), &got, &want, tolerance(name));
                    plain.push(want);
                    for engine in [&mut engine, &mut judge] {
                        engine.delete_adapter("x").expect("loaded");
                    }
                }
            }
            assert!(
                misfit(&plain[0], &plain[1], tolerance("gpu")).is_some(),
                "{family}: adapters tell apart"
            );
        }
    }
}

/// A and B after one step of plain SGD in disguise, see `tests/rust/training.rs`.
async fn stepped(mut engine: Engine, (config, weights): &(Vec<u8>, Vec<u8>)) -> (f64, Vec<f32>) {
    engine.load_adapter("x", config, weights).await.expect("fits");
    let room = TrainingRoom { window: IDS.len(), memory_limit: None };
    let optimizer = Optimizer { betas: [0.0, 0.0], eps: 1e8, max_norm: 0.0, ..Optimizer::default() };
    engine.begin_training("x", optimizer, room).await.expect("a plain LoRA");
    let window = Window::new(IDS.to_vec(), 1);
    let on: Choice = vec![("x".to_owned(), 1.0)];
    let loss = engine.train_step(vec![window], &on, 1e8).await.expect("works");
    let file = engine.export_adapter("x").await.expect("a LoRA").weights;
    let header = Header::from_file_bytes(&file).expect("valid");
    let read = |t: &TensorInfo| t.read_f32(t.bytes_in(&file).expect("inside")).expect("f32");
    (loss, header.tensors.iter().flat_map(read).collect())
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn gradients_pass_through_packed_weights() {
    for (family, model) in models() {
        let lora = model.lora(false);
        for dtype in model.types() {
            for (name, backend, other) in pairs().await {
                let what = format!("{family} {dtype:?} on {name}");
                let (loss, got) = stepped(model.open(backend, dtype, dtype), &lora).await;
                let (want_loss, want) = stepped(model.open(other, dtype, Dtype::F32), &lora).await;
                assert!((loss - want_loss).abs() < 1e-3, "{what}: loss {loss}, expected {want_loss}");
                let largest = want.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                let tolerance = Tolerance { abs: 1e-3 * largest, rel: 0.0 };
                assert_close(&what, &got, &want, tolerance);
                assert!(misfit(&got, &vec![0.0; got.len()], tolerance).is_some(), "{what}: nothing moved");
            }
        }
    }
}

/// An embedding cut into runs of rows for a device that binds little.
#[wasm_bindgen_test(unsupported = pollster::test)]
async fn packed_weights_are_cut_by_rows() {
    let model = llama_like("llama", 64, 5000, false, true);
    let most = 140_000;
    let options = GpuOptions { default_limits: true, max_tensor_bytes: Some(most), ..GpuOptions::default() };
    for dtype in [Dtype::Q8, Dtype::Q4] {
        assert!(4 * 5000 * dtype.row_words(64) as u64 > most);
        let Some(small) = gpu_with(options.clone()).await else { return };
        let mut engine = model.open(small, dtype, dtype);
        let mut judge = model.open(Backend::Cpu(Cpu::new(Kernels::Twin)), dtype, Dtype::F32);
        let got = engine.logits(&IDS[..4]).await.expect("it fits");
        let want = judge.logits(&IDS[..4]).await.expect("it fits");
        assert_close(&format!("{dtype:?}"), &got, &want, tolerance("gpu"));
    }
}

#[wasm_bindgen_test(unsupported = pollster::test)]
async fn packed_weights_are_not_merged_into() {
    let (_, model) = models().into_iter().next().expect("one");
    let mut engine = model.open(Backend::Cpu(Cpu::new(Kernels::Fast)), Dtype::Q8, Dtype::Q8);
    let before = engine.logits(&IDS).await.expect("it fits");
    let (config, weights) = model.lora(false);
    engine.load_adapter("x", &config, &weights).await.expect("fits");
    let error = engine.merge_adapter(&vec![("x".to_owned(), 1.0)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("is held as q8"), "{error}");
    assert_eq!(engine.logits(&IDS).await.expect("it fits"), before);
}

/// Numbers are not rounded to a type that files alone make: the tensor is named.
#[wasm_bindgen_test(unsupported = test)]
fn a_held_type_takes_no_numbers() {
    let model = llama_like("llama", 64, V, false, true);
    let options = EngineOptions {
        batch: Some(1),
        context_length: Some(32),
        dtype: Some(Dtype::Q4_1),
        ..EngineOptions::default()
    };
    let (config, cpu) = (model.config.to_string().into_bytes(), Backend::Cpu(Cpu::new(Kernels::Fast)));
    let mut loader = Loader::new(&config, None, LLAMA.tokenizer, cpu, &options).expect("a valid config");
    let error =
        crate::common::models::load(&mut loader, &model.weights(Dtype::F32)).expect_err("f32 numbers");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().ends_with("its numbers cannot be rounded to q4_1"), "{error}");
}
