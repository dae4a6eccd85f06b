//! The arrows between modules: each may use those before it and no other.
#![cfg(not(target_arch = "wasm32"))]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Module -> modules it may name. The map is drawn in `src/lib.rs`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("activation", &[]),
    ("config", &["activation", "model"]),
    ("dtype", &["error"]),
    ("widen", &["dtype"]),
    ("mersenne_twister", &[]),
    ("order", &[]),
    ("json", &["error"]),
    ("svd", &["mersenne_twister", "order"]),
    ("format", &["error", "json", "dtype", "mersenne_twister", "widen"]),
    ("tokenizer", &["error", "json", "order"]),
    ("plan", &["error", "activation", "dtype"]),
    ("model", &["error", "activation", "json", "format", "plan"]),
    ("backend", &["error", "activation", "dtype", "plan"]),
    (
        "engine",
        &[
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
    ("js", &["error", "json", "dtype", "format", "tokenizer", "backend", "engine"]),
];

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
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for (module, may_use) in MAY_USE {
        let folder = src.join(module);
        let home = if folder.is_dir() { folder } else { src.join(format!("{module}.rs")) };
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
    assert!(seen > 50, "the search found the arrows there are");
}

#[test]
fn every_module_has_its_arrows() {
    let roots = [include_str!("../src/kernels.rs"), include_str!("../src/lib.rs")];
    let lines = roots.iter().flat_map(|root| root.lines());
    let declared: BTreeSet<_> =
        lines.filter_map(|l| l.strip_prefix("pub mod ")?.split([';', ' ']).next()).collect();
    assert_eq!(declared, MAY_USE.iter().map(|(module, _)| *module).collect());
}

#[test]
fn a_forbidden_arrow_is_seen() {
    assert_eq!(used("use crate::engine::Engine; // crate::js"), BTreeSet::from(["engine".to_owned()]));
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
