//! The arrows between modules: each may use those before it and no other.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Module of `src/kernels` -> those of its modules that it may name.
const KERNELS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("activation", &[]),
    ("dtype", &["error"]),
    ("widen", &["dtype"]),
    ("mersenne_twister", &[]),
    ("order", &[]),
    ("svd", &["mersenne_twister", "order"]),
    ("plan", &["error", "activation", "dtype"]),
    ("twin", &["activation", "dtype", "plan"]),
    ("fast", &["activation", "plan", "twin"]),
    ("machine", &["cpu"]),
    ("cpu", &["error", "plan", "twin", "fast", "machine"]),
];

/// Module of `src` -> modules it may name. Those of `src/kernels` have the names they have there.
const MAIN: &[(&str, &[&str])] = &[
    ("config", &["activation", "model"]),
    ("json", &["error"]),
    ("format", &["error", "json", "dtype", "mersenne_twister", "widen"]),
    ("tokenizer", &["error", "json", "order"]),
    ("model", &["error", "activation", "json", "format", "plan"]),
    ("gpu", &["error", "activation", "plan"]),
    ("backend", &["error", "plan", "gpu"]),
    ("words", &["error"]),
    (
        "engine",
        &[
            "words",
            "error",
            "json",
            "config",
            "dtype",
            "mersenne_twister",
            "order",
            "svd",
            "format",
            "tokenizer",
            "plan",
            "model",
            "backend",
            "widen",
        ],
    ),
    ("bindings", &["words", "error", "json", "dtype", "format", "tokenizer", "backend", "engine"]),
];

/// The packages: where their modules lie, and what those may use. The map is drawn in `src/lib.rs`.
const PACKAGES: [(&str, &[(&str, &[&str])]); 2] = [("src/kernels", KERNELS), ("src", MAIN)];

fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = std::fs::read_dir(path).expect("a folder").map(|e| e.expect("an entry").path());
    entries
        .filter(|p| p.is_dir() || p.extension().is_some_and(|e| e == "rs"))
        .flat_map(|p| sources(&p))
        .collect()
}

/// Modules that code names as `crate::module`, comments and strings apart.
fn used(source: &str) -> BTreeSet<String> {
    let code = source.lines().map(|line| line.split("//").next().unwrap_or_default());
    let names = code.flat_map(|line| line.split("crate::").skip(1));
    names.map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()).collect()
}

#[test]
fn arrows_point_one_way() {
    let mut seen = 0;
    for (folder, modules) in PACKAGES {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for (module, may_use) in modules {
            let folder = package.join(module);
            let home = if folder.is_dir() { folder } else { package.join(format!("{module}.rs")) };
            for file in sources(&home) {
                let text = std::fs::read_to_string(&file).expect("readable");
                for name in used(&text) {
                    seen += 1;
                    assert!(
                        name == *module || may_use.contains(&name.as_str()),
                        "{}: `{module}` uses `{name}`",
                        file.display()
                    );
                }
            }
        }
    }
    assert!(seen > 50, "the search found the arrows there are");
}

#[test]
fn every_module_has_its_arrows() {
    for (folder, modules) in PACKAGES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("lib.rs");
        let root = std::fs::read_to_string(root).expect("readable");
        let modules_in = |line: &str| {
            let line = line.strip_prefix("pub ").unwrap_or(line).to_owned();
            Some(line.strip_prefix("mod ")?.split([';', ' ']).next()?.to_owned())
        };
        let declared: BTreeSet<_> = root.lines().filter_map(modules_in).collect();
        assert_eq!(declared, modules.iter().map(|(module, _)| (*module).to_owned()).collect(), "{folder}");
    }
}

#[test]
fn a_forbidden_arrow_is_seen() {
    assert_eq!(used("use crate::engine::Engine; // crate::bindings"), BTreeSet::from(["engine".to_owned()]));
    assert!(used("crate::Result").contains("Result"));
}

/// The first line of a file says what it is.
#[test]
fn every_file_begins_by_saying_what_it_is() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [sources(&root.join("src")), sources(&root.join("tests"))].concat() {
        let text = std::fs::read_to_string(&file).expect("readable");
        assert!(text.starts_with("//! "), "{}", file.display());
    }
}
