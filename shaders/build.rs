//! Copies the shaders to `OUT_DIR` without their comments: people read these files, devices what
//! is left, and visitors need not download the difference. Lists the texts that read a weight by type.

use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=shaders");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::create_dir_all(out.join("shared")).expect("a writable OUT_DIR");
    let mut weights = Vec::new();
    for folder in ["", "shared"] {
        for entry in fs::read_dir(Path::new("shaders").join(folder)).expect("shaders/ and shaders/shared/") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "wgsl") {
                let source = fs::read_to_string(&path).expect("UTF-8");
                let code = format!("{}{}", beside(&source), without_comments(&source));
                let name = path.file_name().expect("a file");
                fs::write(out.join(folder).join(name), code).expect("a writable OUT_DIR");
                let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("UTF-8");
                weights.extend(stem.strip_prefix("weight_").map(str::to_owned));
            }
        }
    }
    weights.sort_unstable();
    let text = |name| format!("(\"{name}\", include_str!(\"shared/weight_{name}.wgsl\"))");
    let texts: Vec<_> = weights.iter().map(text).collect();
    fs::write(out.join("weights.rs"), format!("&[{}]", texts.join(", "))).expect("a writable OUT_DIR");
}

/// The files of `shaders/shared` that a shader says it comes with.
fn beside(wgsl: &str) -> String {
    let names = wgsl.lines().filter_map(|line| line.strip_prefix("// with "));
    let read = |name| fs::read_to_string(Path::new("shaders/shared").join(name)).expect("UTF-8");
    names.map(|name| without_comments(&read(name)) + "\n").collect()
}

/// WGSL has no strings: `//` always begins a comment.
fn without_comments(wgsl: &str) -> String {
    assert!(!wgsl.contains("/*"), "comments here begin with //");
    let code = wgsl.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
    code.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}
