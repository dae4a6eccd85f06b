//! The arrows between modules: each may use those before it and no other.

use crate::common::paths;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Modules, and those that each may name.
type Arrows = &'static [(&'static str, &'static [&'static str])];

/// Module of `src/kernels` -> those of its modules that it may name.
const KERNELS: Arrows = &[
    ("error", &[]),
    ("activation", &[]),
    ("dtype", &["error"]),
    ("widen", &["dtype"]),
    ("mersenne_twister", &[]),
    ("order", &[]),
    ("svd", &["mersenne_twister", "order"]),
    ("tensor", &["error", "dtype"]),
    ("cache", &["error", "dtype", "tensor"]),
    ("control", &[]),
    ("noise", &[]),
    ("twin", &["activation", "dtype", "control", "noise"]),
    ("pool", &[]),
    ("fast", &["activation", "dtype", "control", "pool", "twin"]),
    ("ops", &["activation", "cache", "dtype", "tensor", "control", "pool", "twin", "fast"]),
    ("plan", &["dtype", "tensor", "control", "ops"]),
    ("machine", &[]),
    ("cpu", &["error", "tensor", "ops", "plan", "machine", "pool"]),
];

/// Module of `src` -> modules it may name. Those of `src/kernels` have the names they have there.
const MAIN: Arrows = &[
    ("json", &["error"]),
    ("words", &["error"]),
    ("format", &["error", "json", "dtype", "order", "widen"]),
    ("tokenizer", &["error", "json", "order"]),
    (
        "model",
        &[
            "words",
            "cache",
            "error",
            "activation",
            "json",
            "mersenne_twister",
            "svd",
            "format",
            "ops",
            "plan",
        ],
    ),
    ("gpu", &["error", "activation", "ops", "order", "plan", "for_each_op"]),
    ("backend", &["error", "plan", "pool", "cpu", "gpu", "twin"]),
    (
        "engine",
        &[
            "words",
            "cache",
            "error",
            "json",
            "dtype",
            "mersenne_twister",
            "noise",
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
    ("bench", &["error", "dtype", "format", "backend", "engine"]),
    (
        "bindings",
        &["words", "cache", "error", "json", "dtype", "format", "tokenizer", "backend", "engine", "bench"],
    ),
];

/// Room of `src/engine` -> rooms that it may name. The facade may name all, and none names the facade.
const ENGINE: Arrows = &[
    ("plans", &[]),
    ("runner", &["plans"]),
    ("adapters", &["runner"]),
    ("text", &["plans", "runner", "adapters"]),
    ("training", &["plans", "runner", "adapters", "text", "owners"]),
    ("owners", &["runner", "adapters", "text", "training"]),
    ("temp_lora", &["runner", "adapters", "text", "training", "owners"]),
    ("load", &["plans", "runner", "adapters", "text", "training"]),
    ("folder", &["adapters"]),
];

/// The packages: where their modules lie, and what those may use. The map is drawn in `src/lib.rs`.
const PACKAGES: [(&str, Arrows); 2] = [("src/kernels", KERNELS), ("src", MAIN)];

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

/// A file of a package, and the paths it names from the package's root on.
struct Source {
    path: PathBuf,
    /// Names of its module and those around it; none of the root's.
    module: Vec<String>,
    named: Vec<Vec<String>>,
}

impl Source {
    /// Files of the package in `folder`, other packages in it left out.
    fn all(folder: &str) -> Vec<Self> {
        let home = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let inner = ["grammar", "kernels"].map(|name| home.join(name));
        let is_own = |file: &PathBuf| !inner.iter().any(|folder| file.starts_with(folder));
        let files: Vec<PathBuf> = sources(&home).into_iter().filter(is_own).collect();
        let module = |file: &Path| -> Vec<String> {
            let names = file.strip_prefix(&home).expect("inside").with_extension("");
            let names = names.iter().map(|name| name.to_string_lossy().into_owned());
            names.filter(|name| !["mod", "lib", "main"].contains(&name.as_str())).collect()
        };
        let modules: Vec<Vec<String>> = files.iter().map(|file| module(file)).collect();
        let source = |(path, module): (&PathBuf, &Vec<String>)| {
            let text = std::fs::read_to_string(path).expect("readable");
            let below = modules.iter().filter(|other| other.len() == module.len() + 1);
            let below = below.filter(|other| other.starts_with(module));
            let children = below.filter_map(|other| other.last().cloned()).collect();
            let named = paths::named(&text, module, &["lorakeet", "lorakeet_kernels"], &children);
            Self { path: path.clone(), module: module.clone(), named }
        };
        files.iter().zip(&modules).map(source).collect()
    }
}

#[test]
fn arrows_point_one_way() {
    let mut seen = 0;
    for (folder, modules) in PACKAGES {
        let table: BTreeMap<_, _> = modules.iter().copied().collect();
        for Source { path, module, named } in Source::all(folder) {
            let Some((module, may_use)) = module.first().and_then(|m| table.get_key_value(m.as_str())) else {
                continue;
            };
            for name in named.iter().filter_map(|path| path.first()).filter(|name| *name != "Result") {
                seen += 1;
                assert!(
                    name == module || may_use.contains(&name.as_str()),
                    "{}: `{module}` uses `{name}`",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 500, "the search found the arrows there are");
}

/// The same inside the engine, whose rooms see each other and not the facade.
#[test]
fn rooms_of_the_engine_point_one_way() {
    let table: BTreeMap<_, _> = ENGINE.iter().copied().collect();
    let mut seen = 0;
    for Source { path, module, named } in Source::all("src") {
        let [engine, room, ..] = &module[..] else { continue };
        if engine != "engine" || room == "facade" {
            continue;
        }
        let may_use = table.get(room.as_str()).unwrap_or_else(|| panic!("engine/{room} has no arrows"));
        for named in named.iter().filter(|path| path.first() == Some(engine)) {
            let Some(name) = named.get(1).map(String::as_str) else { continue };
            seen += 1;
            // What opens files is a client of the facade.
            let is_client = room == "folder" && !table.contains_key(name);
            assert!(
                name == room || may_use.contains(&name) || is_client,
                "{}: engine/{room} uses `{name}`",
                path.display()
            );
        }
        let text = std::fs::read_to_string(&path).expect("readable");
        assert!(
            !text.lines().any(|line| line.starts_with("impl Engine")),
            "{}: the facade's",
            path.display()
        );
    }
    assert!(seen > 100, "the search found the arrows there are");
}

/// No file needs another that needs it. A folder's `mod.rs` and the files below it are one there: it lists
/// them, and they add to what it declares.
#[test]
fn files_need_each_other_in_no_circle() {
    for (folder, _) in PACKAGES {
        let files = Source::all(folder);
        let at: BTreeMap<_, _> = files.iter().enumerate().map(|(i, file)| (&file.module[..], i)).collect();
        let needs = |file: &Source| -> BTreeSet<usize> {
            let found = file.named.iter().filter_map(|path| {
                let home = (1..=path.len()).rev().find_map(|n| at.get(&path[..n]).map(|i| (*i, n)));
                let (other, n) = home?;
                let related = file.module.starts_with(&path[..n]) || path[..n].starts_with(&file.module);
                (!related).then_some(other)
            });
            found.collect()
        };
        let needs: Vec<_> = files.iter().map(needs).collect();
        assert!(needs.iter().map(BTreeSet::len).sum::<usize>() > 20, "the search found what is needed");
        // Files that need nothing but what was taken away already are taken away, until none is left.
        let mut left: BTreeSet<usize> = (0..files.len()).collect();
        while let Some(free) = left.iter().copied().find(|i| needs[*i].is_disjoint(&left)) {
            left.remove(&free);
        }
        // What only leads to a circle is none.
        while let Some(end) = left.iter().copied().find(|i| !left.iter().any(|j| needs[*j].contains(i))) {
            left.remove(&end);
        }
        let circle: Vec<String> = left.iter().map(|i| files[*i].module.join("::")).collect();
        assert!(circle.is_empty(), "{folder}: in circles are {circle:?}");
    }
}

#[test]
fn every_module_has_its_arrows() {
    for (folder, modules) in PACKAGES {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join("lib.rs");
        let root = std::fs::read_to_string(root).expect("readable");
        let modules_in = |line: &str| {
            let line = line.trim_start_matches("pub(crate) ").trim_start_matches("pub ").to_owned();
            Some(line.strip_prefix("mod ")?.split([';', ' ']).next()?.to_owned())
        };
        let declared: BTreeSet<_> = root.lines().filter_map(modules_in).collect();
        assert_eq!(declared, modules.iter().map(|(module, _)| (*module).to_owned()).collect(), "{folder}");
    }
}

/// What is `pub` is what somebody outside its crate uses: the lint `unreachable_pub` finds what nobody can,
/// and more than this comes only with a reason.
#[test]
fn no_more_is_public_than_was() {
    const MOST: usize = 753;
    const KINDS: [&str; 9] = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod", "use"];
    let is_public = |line: &&str| {
        let Some(mut rest) = line.trim_start().strip_prefix("pub ") else { return false };
        while let Some(shorter) = ["async ", "unsafe "].iter().find_map(|word| rest.strip_prefix(word)) {
            rest = shorter;
        }
        KINDS.iter().any(|kind| rest.strip_prefix(kind).is_some_and(|rest| rest.starts_with(' ')))
    };
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let count = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).expect("readable");
        text.lines().filter(is_public).count()
    };
    let public: usize = files.iter().map(count).sum();
    assert!(public > 100, "the search found what is public");
    assert!(public <= MOST, "{public} items are public, expected at most {MOST}");
}

#[test]
fn a_forbidden_arrow_is_seen() {
    let source = "use crate::engine::{Engine, text::{self, seat::Seat as S}}; // crate::bindings
        use super::super::model; use lorakeet::gpu; use std::fmt; use child::Name;
        fn f() { self::g(); super::h::i(\"crate::no\"); crate::plan::Plan::new() }
        #[cfg(test)]\nmod tests { use crate::cpu; }";
    let home = ["a", "b"].map(str::to_owned);
    let named = paths::named(source, &home, &["lorakeet"], &BTreeSet::from(["child".to_owned()]));
    let named: BTreeSet<String> = named.iter().map(|path| path.join("::")).collect();
    let expected = [
        "a::b::child::Name",
        "a::b::g",
        "a::h::i",
        "engine::Engine",
        "engine::text::seat::Seat",
        "engine::text::self",
        "gpu",
        "model",
        "plan::Plan::new",
    ];
    assert_eq!(named, expected.map(str::to_owned).into());
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

/// CONTRIBUTING.md walks from a call to the kernel in ten files, each of which names the next in its head.
#[test]
fn the_newcomers_walk_leads_on() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let papers = std::fs::read_to_string(root.join("CONTRIBUTING.md")).expect("readable");
    let step = |line: &str| Some(line.split_once(". [")?.1.split_once(']')?.0.to_owned());
    let walk: Vec<String> = papers
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()) && line.contains("](src/"))
        .take(10)
        .filter_map(step)
        .collect();
    assert_eq!(walk.len(), 10, "{walk:?}");
    for pair in walk.windows(2) {
        let text = std::fs::read_to_string(root.join(&pair[0])).expect("readable");
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("//")).collect();
        assert!(head.iter().any(|line| line.contains(&pair[1])), "{} does not name {}", pair[0], pair[1]);
    }
}
