//! Shaders checked without a GPU: naga is the compiler that native wgpu uses, and its report
//! of bindings and layouts is compared with the Rust side.

use crate::common::stores;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lorakeet::dtype::Dtype;
use lorakeet::gpu::kernels::Kernel;
use lorakeet::gpu::ops;
use naga::{AddressSpace, Handle, Module, StorageAccess, Type, TypeInner};

/// The kernel of this name, over the type it has by itself.
fn named(name: &str) -> Kernel {
    ops::kernels().find(|kernel| kernel.name == name).unwrap_or_else(|| panic!("no kernel `{name}`"))
}

fn parse(kernel: &Kernel) -> Module {
    stores::validated(kernel.name, &kernel.source()).0
}

fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = std::fs::read_dir(folder).expect("the folder exists").map(|e| e.expect("an entry").path());
    let files = files.filter(|p| p.extension().is_some_and(|e| e == extension));
    files.map(|p| p.file_stem().expect("a stem").to_string_lossy().into_owned()).collect()
}

#[test]
fn every_shader_is_valid_and_in_the_table() {
    let table: BTreeSet<_> = ops::kernels().map(|k| k.name.to_owned()).collect();
    assert_eq!(stems("shaders", "wgsl"), table, "shaders/*.wgsl and the kernels of ops differ");
    for kernel in ops::kernels() {
        let module = parse(&kernel);
        let entries: Vec<_> = module.entry_points.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(entries, [kernel.name], "the entry point is the file's stem");
    }
}

#[test]
fn a_broken_shader_is_caught() {
    let broken = Kernel { parts: &["fn embed() -> f32 { return 1u; }"], ..named("embed") };
    assert!(std::panic::catch_unwind(|| parse(&broken)).is_err());
}

/// f32 weights are read one by one or in fours; each packed type has a text of its own.
#[test]
fn every_type_of_weight_has_its_text() {
    let texts = stems("shaders/shared", "wgsl");
    let texts: BTreeSet<_> = texts.iter().filter_map(|stem| stem.strip_prefix("weight_")).collect();
    let types = Dtype::PACKED.map(Dtype::name).into_iter().chain(["f32", "f32x4"]);
    assert_eq!(texts, types.collect());
}

#[test]
fn bindings_are_numbered_from_zero_inputs_before_outputs() {
    for kernel in ops::kernels() {
        let module = parse(&kernel);
        let mut slots: BTreeMap<u32, (AddressSpace, String)> = BTreeMap::new();
        for (_, global) in module.global_variables.iter() {
            if let Some(at) = &global.binding {
                assert_eq!(at.group, 0, "{}", kernel.name);
                slots.insert(at.binding, (global.space, global.name.clone().unwrap_or_default()));
            }
        }
        let numbers: Vec<_> = slots.keys().copied().collect();
        assert_eq!(numbers, (0..slots.len() as u32).collect::<Vec<_>>(), "{}", kernel.name);
        assert_eq!(slots[&0], (AddressSpace::Uniform, "params".into()), "{}", kernel.name);
        assert!(slots.len() <= 9, "{}: the specification grants eight storage buffers", kernel.name);
        let mut writing = false;
        for (number, (space, name)) in slots.iter().skip(1) {
            let AddressSpace::Storage { access } = space else {
                panic!("{} {name}: not storage", kernel.name)
            };
            let writes = access.contains(StorageAccess::STORE);
            assert!(writes || !writing, "{} binding {number} `{name}`: input after an output", kernel.name);
            writing = writes;
        }
        assert!(writing, "{} writes nothing", kernel.name);
    }
}

#[test]
fn parameters_lie_where_rust_puts_them() {
    for kernel in ops::kernels() {
        let module = parse(&kernel);
        let (_, _, (fields, size)) = ops::ALL.iter().find(|(op, ..)| *op == kernel.op).expect("an op");
        let (members, span) = named_struct(&module, "Params");
        let wgsl: Vec<_> = members.iter().map(|(name, offset)| (name.as_str(), *offset)).collect();
        assert_eq!((&wgsl[..], span), (*fields, *size), "{}", kernel.name);
    }
}

#[test]
fn rows_mixes_and_sampling_lie_where_rust_puts_them() {
    use lorakeet::plan::{Block, INACTIVE, Mix, RING, Row, Sampling};
    use std::mem::offset_of;
    let module = parse(&named("sample"));
    let rust = [
        ("temperature", offset_of!(Sampling, temperature)),
        ("top_p", offset_of!(Sampling, top_p)),
        ("min_p", offset_of!(Sampling, min_p)),
        ("repetition_penalty", offset_of!(Sampling, repetition_penalty)),
        ("top_k", offset_of!(Sampling, top_k)),
        ("seed", offset_of!(Sampling, seed)),
        ("n_stop", offset_of!(Sampling, n_stop)),
        ("padding", offset_of!(Sampling, padding)),
        ("stop", offset_of!(Sampling, stop)),
    ];
    let (members, span) = named_struct(&module, "Sampling");
    assert_eq!(members, rust.map(|(name, at)| (name.to_owned(), at)));
    assert_eq!(span, size_of::<Sampling>());
    let rust = [
        ("token", offset_of!(Row, token)),
        ("pos", offset_of!(Row, pos)),
        ("slot", offset_of!(Row, slot)),
        ("mix", offset_of!(Row, mix)),
    ];
    let (members, span) = named_struct(&module, "Row");
    assert_eq!(members, rust.map(|(name, at)| (name.to_owned(), at)));
    assert_eq!(span, size_of::<Row>());
    let module = parse(&named("shrink"));
    let rust = [
        ("ranks", offset_of!(Block, ranks)),
        ("adapter", offset_of!(Block, adapter)),
        ("weight", offset_of!(Block, weight)),
    ];
    let (members, span) = named_struct(&module, "Block");
    assert_eq!((members, span), (rust.map(|(name, at)| (name.to_owned(), at)).to_vec(), size_of::<Block>()));
    let rust = [("n_blocks", offset_of!(Mix, n_blocks)), ("blocks", offset_of!(Mix, blocks))];
    let (members, span) = named_struct(&module, "Mix");
    assert_eq!((members, span), (rust.map(|(name, at)| (name.to_owned(), at)).to_vec(), size_of::<Mix>()));
    assert_eq!(size_of::<Mix>(), 64, "a switch writes no more than this");
    assert!(named("sample").source().contains(&format!("const RING: u32 = {RING}u;")));
    assert!(named("sample").source().contains(&format!("const INACTIVE: u32 = {INACTIVE:#x}u;")));
}

#[test]
fn training_lies_where_rust_puts_it() {
    use lorakeet::plan::Training;
    use std::mem::offset_of;
    let rust = [
        ("seed", offset_of!(Training, seed)),
        ("dropout", offset_of!(Training, dropout)),
        ("loss_weight", offset_of!(Training, loss_weight)),
        ("max_norm", offset_of!(Training, max_norm)),
        ("learning_rate", offset_of!(Training, learning_rate)),
        ("weight_decay", offset_of!(Training, weight_decay)),
        ("eps", offset_of!(Training, eps)),
        ("rates", offset_of!(Training, rates)),
        ("corrections", offset_of!(Training, corrections)),
        ("padding", offset_of!(Training, padding)),
    ];
    let (members, span) = named_struct(&parse(&named("adam_w")), "Training");
    assert_eq!(members, rust.map(|(name, at)| (name.to_owned(), at)));
    assert_eq!(span, size_of::<Training>());
}

#[test]
fn no_function_is_defined_in_two_files() {
    let mut homes: BTreeMap<String, String> = BTreeMap::new();
    for folder in ["shaders", "shaders/shared"] {
        for stem in stems(folder, "wgsl") {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(format!("{stem}.wgsl"));
            let text = std::fs::read_to_string(path).expect("readable");
            for name in text.lines().filter_map(|l| l.strip_prefix("fn ")).filter_map(|l| l.split('(').next())
            {
                // Elements of z and b, which the kernels of `linear` bind as f32 or as vec4, and of
                // weights and caches, one file for each type.
                if ["z_at", "b_at"].contains(&name)
                    || ["weight_", "cache_", "store_"].iter().any(|kind| stem.starts_with(kind))
                {
                    continue;
                }
                if let Some(home) = homes.insert(name.to_owned(), stem.clone()) {
                    panic!("fn {name} is in `{home}` and in `{stem}`");
                }
            }
        }
    }
    assert!(homes.len() > ops::ALL.len(), "the search found its functions");
}

/// Variables of which a shader stores parts of vectors that invocations share, or, of a local vector,
/// a part that is known only when it runs, which FXC refuses.
fn wrong_stores(name: &str, source: &str) -> BTreeSet<String> {
    let stores = stores::part_stores(name, source).into_iter();
    stores.filter(|store| stores::is_shared(store.space) || store.is_dynamic).map(|s| s.variable).collect()
}

/// A store to one component may write the whole vector: two invocations would lose each other's.
#[test]
fn no_shader_stores_a_part_of_a_shared_vector() {
    let mut wrong = BTreeMap::new();
    for kernel in ops::kernels() {
        let variables = wrong_stores(kernel.name, &kernel.source());
        if !variables.is_empty() {
            wrong.insert(kernel.name, variables);
        }
    }
    assert_eq!(wrong, BTreeMap::new());
}

#[test]
fn stores_of_a_part_are_found() {
    let shader = |declared: &str, body: &str| {
        format!(
            "{declared}
            @group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
            @compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {{ {body} }}"
        )
    };
    let tile = "var<workgroup> tile: array<vec4<f32>, 16>;";
    for (declared, body, variable) in [
        (tile, "tile[i / 4u][i % 4u] = 1.0;", "tile"),
        (tile, "tile[i].x = 1.0;", "tile"),
        (tile, "if i > 3u { loop { tile[i].y += 1.0; break; } }", "tile"),
        (tile, "switch i { case 1u: { let p = &tile[i]; (*p).z = 1.0; } default: {} }", "tile"),
        ("var<workgroup> one: vec2<u32>;", "one[i] = 1u;", "one"),
        ("var<workgroup> m: mat4x4<f32>;", "m[i] = vec4(1.0);", "m"),
        ("var<workgroup> m: mat4x4<f32>;", "m[1][2] = 1.0;", "m"),
        ("struct S { a: f32, v: vec3<f32> } var<workgroup> s: array<S, 4>;", "s[i].v.x = 1.0;", "s"),
        (
            "fn put(p: ptr<function, vec4<f32>>, j: u32) { (*p)[j] = 1.0; }",
            "var v: vec4<f32>; put(&v, i);",
            "p",
        ),
        ("", "out[i].w = 1.0;", "out"),
        ("", "out[i / 4u][i % 4u] = 1.0;", "out"),
        ("", "var v = vec4(0.0); for (var j = 0u; j < 4u; j++) { v[j] += 1.0; } out[i] = v;", "v"),
        ("", "var m = mat4x4<f32>(); m[1][i] = 1.0; out[i] = m[1];", "m"),
        ("var<private> v: vec4<f32>;", "v[i] = 1.0;", "v"),
    ] {
        assert_eq!(
            wrong_stores(body, &shader(declared, body)),
            BTreeSet::from([variable.to_owned()]),
            "{body}"
        );
    }
    for (declared, body) in [
        (tile, "tile[i] = vec4(1.0); out[i] = tile[i] + tile[i][i % 4u];"),
        ("var<workgroup> floats: array<f32, 64>;", "floats[i] = 1.0;"),
        (
            "struct S { a: f32, v: vec3<f32> } var<workgroup> s: array<S, 4>;",
            "s[i].a = 1.0; s[i].v = vec3(1.0);",
        ),
        ("", "var v = vec4(0.0); v.x = 1.0; v[2] += 1.0; out[i] = v;"),
        ("", "var a = array<f32, 8>(); a[i] = 1.0; out[i] = vec4(a[1]);"),
    ] {
        assert_eq!(wrong_stores(body, &shader(declared, body)), BTreeSet::new(), "{body}");
    }
}

#[test]
fn shared_memory_fits_the_default_limit() {
    for kernel in ops::kernels() {
        let module = parse(&kernel);
        let mut bytes = 0;
        for (_, global) in module.global_variables.iter().filter(|(_, g)| g.space == AddressSpace::WorkGroup)
        {
            bytes += match &module.types[global.ty].inner {
                TypeInner::Array { base, size: naga::ArraySize::Pending(_), .. } => {
                    kernel.workgroup_size * module.types[*base].inner.size(module.to_ctx())
                }
                inner => inner.size(module.to_ctx()),
            };
        }
        assert!(bytes <= 16 << 10, "{}: {bytes} bytes of workgroup memory", kernel.name);
        assert!(kernel.workgroup_size <= 256, "{}", kernel.name);
    }
}

fn named_struct(module: &Module, name: &str) -> (Vec<(String, usize)>, usize) {
    let wanted = |(_, ty): &(Handle<Type>, &Type)| ty.name.as_deref() == Some(name);
    let (_, ty) = module.types.iter().find(wanted).expect("the struct is declared");
    let TypeInner::Struct { members, span } = &ty.inner else { panic!("{name} is no struct") };
    let members = members.iter().map(|m| (m.name.clone().expect("a name"), m.offset as usize));
    (members.collect(), *span as usize)
}
