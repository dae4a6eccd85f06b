//! Stores to a part of a vector, found in naga's IR: WGSL lets a store to one component write the
//! whole vector, so that invocations which share one race. Nothing here touches a device.

use naga::proc::TypeResolution;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Block, Expression, Function, Handle, Module, Span, Statement, TypeInner};

/// A module and what naga knows of its types. Panics with naga's report if it is not valid.
pub(crate) fn validated(name: &str, source: &str) -> (Module, ModuleInfo) {
    let module = naga::front::wgsl::parse_str(source)
        .unwrap_or_else(|e| panic!("{name}:\n{}", e.emit_to_string(source)));
    // `unpack2x16float`, which WebGPU has without its feature `shader-f16`.
    let granted = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    let checked = Validator::new(ValidationFlags::all(), granted).validate(&module);
    let info = checked.unwrap_or_else(|e| panic!("{name}:\n{}", e.emit_to_string(source)));
    (module, info)
}

/// A store to a component of a vector, or to a column of a matrix.
pub(crate) struct PartStore {
    /// Where the vector lies.
    pub(crate) space: AddressSpace,
    /// The variable it is part of.
    pub(crate) variable: String,
    /// Whether which component it is is known only when it runs.
    pub(crate) is_dynamic: bool,
    /// The statement in the source.
    pub(crate) statement: Span,
    /// The vector in the source.
    pub(crate) whole: Span,
}

/// Every such store of a shader.
pub(crate) fn part_stores(name: &str, source: &str) -> Vec<PartStore> {
    let (module, info) = validated(name, source);
    let mut found = Vec::new();
    for (handle, function) in module.functions.iter() {
        walk(&module, function, &info[handle], &function.body, &mut found);
    }
    for (i, entry) in module.entry_points.iter().enumerate() {
        walk(&module, &entry.function, info.get_entry_point(i), &entry.function.body, &mut found);
    }
    found
}

fn walk(
    module: &Module,
    function: &Function,
    info: &FunctionInfo,
    block: &Block,
    found: &mut Vec<PartStore>,
) {
    for (statement, span) in block.span_iter() {
        let mut inside = |block: &Block| walk(module, function, info, block, found);
        match statement {
            Statement::Block(block) => inside(block),
            Statement::If { accept, reject, .. } => [accept, reject].into_iter().for_each(inside),
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| inside(&case.body)),
            Statement::Loop { body, continuing, .. } => [body, continuing].into_iter().for_each(inside),
            Statement::Store { pointer, .. } => {
                let (whole, is_dynamic) = match function.expressions[*pointer] {
                    Expression::Access { base, .. } => (base, true),
                    Expression::AccessIndex { base, .. } => (base, false),
                    _ => continue,
                };
                if let Some(space) = space_of_vector(module, &info[whole].ty) {
                    let variable = variable(module, function, whole);
                    let whole = function.expressions.get_span(whole);
                    found.push(PartStore { space, variable, is_dynamic, statement: *span, whole });
                }
            }
            _ => {}
        }
    }
}

/// Where the vector or matrix lies that a pointer points at; `None` if it points at anything else.
fn space_of_vector(module: &Module, ty: &TypeResolution) -> Option<AddressSpace> {
    match *ty.inner_with(&module.types) {
        TypeInner::Pointer { base, space } => match module.types[base].inner {
            TypeInner::Vector { .. } | TypeInner::Matrix { .. } => Some(space),
            _ => None,
        },
        TypeInner::ValuePointer { size: Some(_), space, .. } => Some(space),
        _ => None,
    }
}

fn variable(module: &Module, function: &Function, pointer: Handle<Expression>) -> String {
    let name = match function.expressions[pointer] {
        Expression::Access { base, .. } | Expression::AccessIndex { base, .. } => {
            return variable(module, function, base);
        }
        Expression::GlobalVariable(variable) => module.global_variables[variable].name.clone(),
        Expression::LocalVariable(variable) => function.local_variables[variable].name.clone(),
        Expression::FunctionArgument(i) => function.arguments[i as usize].name.clone(),
        _ => None,
    };
    name.unwrap_or_default()
}

/// The same shader with every store to a part of a vector that invocations share made as WGSL permits:
/// the vector read, changed, and written back.
pub(crate) fn with_whole_stores(name: &str, source: &str) -> String {
    let mut stores = part_stores(name, source);
    stores.retain(|store| is_shared(store.space));
    stores.sort_by_key(|store| store.statement.to_range().map(|range| range.start));
    let mut text = source.to_owned();
    for store in stores.iter().rev() {
        let statement = store.statement.to_range().expect("a span");
        let whole = store.whole.to_range().expect("a span");
        assert_eq!(statement.start, whole.start, "{name}: a store begins with its vector");
        let (vector, change) = (&source[whole.clone()], &source[whole.end..statement.end]);
        let change = change.trim_end_matches(';');
        // Before a `;` that may lie past the statement, or in the head of a loop, a block does not go.
        let rest = source[statement.end..].trim_start();
        assert!(
            source[..statement.end].ends_with(';') || rest.starts_with(';'),
            "{name}: `{vector}{change}`"
        );
        let end = if rest.starts_with(';') { source.len() - rest.len() + 1 } else { statement.end };
        let rewritten = format!("{{ var whole = {vector}; whole{change}; {vector} = whole; }}");
        text.replace_range(statement.start..end, &rewritten);
    }
    validated(name, &text);
    text
}

/// Whether several invocations see what lies there.
pub(crate) fn is_shared(space: AddressSpace) -> bool {
    matches!(space, AddressSpace::WorkGroup | AddressSpace::Storage { .. })
}
