//! Every op has all its parts: its file, its launch, its twin, its shaders and its test. What these do
//! is judged elsewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lorakeet::gpu;
use lorakeet::ops::Op;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The names of a folder's files with this extension.
fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(root().join(folder)).expect("the folder exists");
    let files = files.map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == extension));
    files.map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned()).collect()
}

/// The text of all files that test op by op: those that run in browsers too.
fn op_tests() -> String {
    let files =
        stems("tests/rust", "rs").into_iter().map(|stem| root().join("tests/rust").join(stem + ".rs"));
    let texts = files.map(|path| std::fs::read_to_string(path).expect("readable"));
    texts.filter(|text| text.contains("use wasm_bindgen_test")).collect()
}

/// The parts that an op of this name, computed by kernels of these names, does not have.
fn missing(op: &str, kernels: &[&str], tests: &str) -> Vec<String> {
    let mut files =
        ["src/kernels/ops", "src/gpu/ops", "src/kernels/twin"].map(|at| format!("{at}/{op}.rs")).to_vec();
    files.push(format!("shaders/{op}.wgsl"));
    files.extend(kernels.iter().map(|kernel| format!("shaders/{kernel}.wgsl")));
    files.retain(|file| !root().join(file).is_file());
    files.dedup();
    if !tests.contains(&format!("async fn {op}")) {
        files.push(format!("a test whose name begins with `{op}`"));
    }
    files
}

#[test]
fn every_op_has_all_its_parts() {
    let tests = op_tests();
    assert_eq!(gpu::ops::ALL.iter().map(|(op, ..)| *op).collect::<Vec<_>>(), Op::NAMES);
    let all = gpu::ops::ALL.iter().flat_map(|(op, kernels, _)| {
        let kernels: Vec<_> = kernels.iter().map(|kernel| kernel.name).collect();
        missing(op, &kernels, &tests).into_iter().map(move |part| format!("`{op}` has no {part}"))
    });
    assert_eq!(all.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_is_missing_is_named() {
    let tests = op_tests();
    assert_eq!(
        missing("norn", &["norm", "norn_vec"], &tests),
        [
            "src/kernels/ops/norn.rs",
            "src/gpu/ops/norn.rs",
            "src/kernels/twin/norn.rs",
            "shaders/norn.wgsl",
            "shaders/norn_vec.wgsl",
            "a test whose name begins with `norn`",
        ]
    );
    assert!(missing("norm", &["norm"], &tests).is_empty());
}

/// No file is of an op that is not in the list.
#[test]
fn every_file_is_of_an_op() {
    let names: BTreeSet<_> = Op::NAMES.iter().map(|&name| name.to_owned()).collect();
    for (folder, others) in [
        ("src/kernels/ops", &["mod"][..]),
        ("src/gpu/ops", &["mod"]),
        // What several of them read is no op.
        ("src/kernels/twin", &["mod", "weight"]),
    ] {
        let mut files = stems(folder, "rs");
        others.iter().for_each(|other| assert!(files.remove(*other), "{folder}/{other}.rs"));
        assert_eq!(files, names, "{folder}");
    }
}
