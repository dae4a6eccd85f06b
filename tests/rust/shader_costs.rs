//! What the innermost loops of shaders cost, counted in naga's IR: arithmetic beside the multiplications that it is for.
//! A number may fall; a change that lets it rise names the new one. Times are the device's own business.

use crate::common::stores;
use std::ops::AddAssign;

use lorakeet::dtype::Dtype;
use lorakeet::gpu::ops;
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    BinaryOperator, Block, Expression, Function, MathFunction, Module, ScalarKind, Statement, TypeInner,
};

/// Operations, each component of a vector being one: all there are, and those of them that multiply floats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Cost {
    all: u32,
    products: u32,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.all += other.all;
        self.products += other.products;
    }
}

/// A function, and where the module's others are.
#[derive(Clone, Copy)]
struct Reader<'a> {
    module: &'a Module,
    known: &'a ModuleInfo,
    function: &'a Function,
    info: &'a FunctionInfo,
}

impl Reader<'_> {
    /// Components of a value, and whether they are floats.
    fn components(&self, of: naga::Handle<Expression>) -> (u32, bool) {
        match *self.info[of].ty.inner_with(&self.module.types) {
            TypeInner::Scalar(scalar) => (1, scalar.kind == ScalarKind::Float),
            TypeInner::Vector { size, scalar } => (size as u32, scalar.kind == ScalarKind::Float),
            TypeInner::Matrix { columns, rows, .. } => (columns as u32 * rows as u32, true),
            _ => (0, false),
        }
    }

    fn expression(&self, handle: naga::Handle<Expression>) -> Cost {
        let (n, is_float) = self.components(handle);
        match self.function.expressions[handle] {
            Expression::Binary { op: BinaryOperator::Multiply, left, right } if is_float => {
                let widest = [left, right].map(|side| self.components(side).0).into_iter().fold(n, u32::max);
                // A matrix times a vector adds what it multiplies.
                let sums = widest - n;
                Cost { all: widest + sums, products: widest }
            }
            Expression::Math { fun: MathFunction::Dot, arg, .. } => {
                let n = self.components(arg).0;
                Cost { all: 2 * n - 1, products: if is_float { n } else { 0 } }
            }
            Expression::Math { fun: MathFunction::Fma, .. } => Cost { all: n, products: n },
            Expression::Binary { .. }
            | Expression::Unary { .. }
            | Expression::Math { .. }
            | Expression::Select { .. }
            | Expression::As { convert: Some(_), .. } => Cost { all: n, products: 0 },
            _ => Cost::default(),
        }
    }

    /// All of a block, functions that it calls included; the innermost loops that it has go to `loops`.
    fn block(&self, block: &Block, loops: &mut Vec<Cost>) -> Cost {
        let mut cost = Cost::default();
        for statement in block {
            match statement {
                Statement::Emit(range) => range.clone().for_each(|each| cost += self.expression(each)),
                Statement::Block(block) => cost += self.block(block, loops),
                Statement::If { accept, reject, .. } => {
                    [accept, reject].into_iter().for_each(|block| cost += self.block(block, loops));
                }
                Statement::Switch { cases, .. } => {
                    cases.iter().for_each(|case| cost += self.block(&case.body, loops));
                }
                Statement::Loop { body, continuing, .. } => {
                    let before = loops.len();
                    let mut own = self.block(body, loops);
                    own += self.block(continuing, loops);
                    if loops.len() == before {
                        loops.push(own);
                    }
                }
                Statement::Call { function, .. } => {
                    let callee = Self {
                        function: &self.module.functions[*function],
                        info: &self.known[*function],
                        ..*self
                    };
                    cost += callee.block(&callee.function.body, loops);
                }
                _ => {}
            }
        }
        cost
    }
}

/// The innermost loop of a shader that multiplies most.
fn heaviest(name: &str, source: &str) -> Cost {
    let (module, known) = stores::validated(name, source);
    let mut loops = Vec::new();
    for (i, entry) in module.entry_points.iter().enumerate() {
        let reader = Reader {
            module: &module,
            known: &known,
            function: &entry.function,
            info: known.get_entry_point(i),
        };
        reader.block(&entry.function.body, &mut loops);
    }
    loops.into_iter().max_by_key(|cost| cost.products).unwrap_or_default()
}

#[test]
fn operations_are_counted_as_they_are_written() {
    let source = "
        @group(0) @binding(0) var<storage, read_write> y: array<vec4<f32>>;
        fn twice(x: vec4<f32>) -> vec4<f32> { return x * 2.0; }
        @compute @workgroup_size(1)
        fn main() {
            var sum = vec4(0.0);
            for (var i = 0u; i < 8u; i++) {
                sum += twice(y[i]) * dot(y[i], sum);
            }
            y[0] = sum;
        }";
    // The loop: a comparison and a sum of its own; four times 2, seven of the dot, four times it, four to add.
    assert_eq!(heaviest("main", source), Cost { all: 2 + 4 + 7 + 4 + 4, products: 4 + 4 + 4 });
}

/// Operations for each multiplication in the loops that take most of the time.
#[test]
fn arithmetic_beside_a_product_does_not_grow() {
    let want: &[(&str, Dtype, u32, u32)] = &[
        ("linear", Dtype::F32, 44, 16),
        ("linear_tile", Dtype::F32, 153, 64),
        ("linear_tile", Dtype::F16, 153, 64),
        ("linear_tile", Dtype::Q8, 153, 64),
        ("linear_tile", Dtype::Q4, 153, 64),
        ("linear_vec", Dtype::F32, 40, 16),
        ("linear_vec", Dtype::F16, 56, 16),
        ("linear_vec", Dtype::Q8, 156, 32),
        ("linear_vec", Dtype::Q4, 180, 32),
        ("linear_rows", Dtype::F32, 139, 64),
        ("linear_rows", Dtype::F16, 155, 64),
        ("linear_rows", Dtype::Q8, 255, 80),
        ("linear_rows", Dtype::Q4, 279, 80),
        ("linear_block", Dtype::F32, 179, 64),
        ("linear_block", Dtype::F16, 211, 64),
        ("linear_block", Dtype::Q8, 411, 96),
        ("linear_block", Dtype::Q4, 459, 96),
        ("linear_vec_fused", Dtype::F32, 131, 45),
        ("linear_vec_fused", Dtype::F16, 131, 45),
        ("linear_vec_fused", Dtype::Q8, 316, 72),
        ("linear_vec_fused", Dtype::Q4, 364, 72),
        ("attention", Dtype::F32, 13, 4),
        ("attention", Dtype::F16, 13, 4),
        ("attention", Dtype::Q8, 48, 8),
        ("attention_split", Dtype::F32, 73, 32),
        ("attention_split", Dtype::F16, 79, 32),
        ("attention_split", Dtype::Q8, 107, 36),
        ("attention_merge", Dtype::F32, 15, 4),
        ("linear_grad", Dtype::F32, 44, 16),
        ("linear_grad_tile", Dtype::F32, 153, 64),
        ("linear_grad_tile", Dtype::F16, 153, 64),
        ("linear_grad_tile", Dtype::Q8, 153, 64),
        ("linear_grad_tile", Dtype::Q4, 153, 64),
        ("linear_grad_sum", Dtype::F32, 10, 0),
        ("attention_grad_q", Dtype::F32, 8, 2),
        ("attention_grad_q", Dtype::F16, 16, 2),
        ("attention_grad_q", Dtype::Q8, 54, 4),
        ("attention_grad_kv", Dtype::F32, 30, 8),
        ("attention_grad_kv", Dtype::F16, 30, 8),
        ("attention_grad_kv", Dtype::Q8, 30, 8),
    ];
    let mut wrong = String::new();
    for kernel in ops::kernels() {
        let of_weights = kernel.name.starts_with("linear") || kernel.name.starts_with("attention");
        let is_measured = [Dtype::F32, Dtype::F16, Dtype::Q8, Dtype::Q4].contains(&kernel.dtype);
        if !of_weights || !is_measured {
            continue;
        }
        let got = heaviest(kernel.name, &kernel.source());
        let is_it = |entry: &&(&str, Dtype, u32, u32)| (entry.0, entry.1) == (kernel.name, kernel.dtype);
        if want.iter().find(is_it).map(|&(.., all, products)| Cost { all, products }) != Some(got) {
            wrong += &format!(
                "        (\"{}\", Dtype::{:?}, {}, {}),\n",
                kernel.name, kernel.dtype, got.all, got.products
            );
        }
    }
    assert!(wrong.is_empty(), "the table is to hold\n{wrong}");
}
