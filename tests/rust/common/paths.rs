//! Which modules a Rust file names, whatever form its paths have: `crate::`, `super::`, `self::`, the
//! package's name, or a child's. Not a compiler: macros' bodies and names without a path are not looked into.

use std::collections::BTreeSet;

/// Paths that a file of module `home` names, from the package's root on: (`a`, `b`, `Name`).
/// `roots` are names of packages whose root counts as this one's; `children` those of the modules it declares.
pub(crate) fn named(
    source: &str,
    home: &[String],
    roots: &[&str],
    children: &BTreeSet<String>,
) -> Vec<Vec<String>> {
    let tokens = tokens(source);
    let (mut paths, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let in_use = tokens[at] == "use";
        let begins = at == 0 || !matches!(tokens[at - 1].as_str(), "::" | "mod" | ".");
        let first = tokens[at].as_str();
        let known = matches!(first, "crate" | "super" | "self") || roots.contains(&first);
        if in_use {
            at = tree(&tokens, at + 1, &[], &mut paths);
        } else if begins && known && tokens.get(at + 1).is_some_and(|next| next == "::") {
            let mut path = vec![tokens[at].clone()];
            while tokens.get(at + 1).is_some_and(|next| next == "::") {
                path.extend(tokens.get(at + 2).cloned());
                at += 2;
            }
            paths.push(path);
        }
        at += 1;
    }
    paths.into_iter().filter_map(|path| from_root(path, home, roots, children)).collect()
}

/// Reads a tree of `use` from `at` on; returns where it ends.
fn tree(tokens: &[String], mut at: usize, before: &[String], paths: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "::" => {}
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = tree(tokens, at, &path, paths);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            "," | "}" | ";" => break,
            "as" => at += 1,
            _ => path.push(token.clone()),
        }
        at += 1;
    }
    paths.push(path);
    at
}

fn from_root(
    path: Vec<String>,
    home: &[String],
    roots: &[&str],
    children: &BTreeSet<String>,
) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        name if roots.contains(&name) => Some(rest.to_vec()),
        "self" => Some([home, rest].concat()),
        "super" => {
            let up = path.iter().take_while(|part| *part == "super").count();
            Some([&home[..home.len().checked_sub(up)?], &path[up..]].concat())
        }
        name if children.contains(name) => Some([home, &path[..]].concat()),
        _ => None,
    }
}

/// Names, `::`, braces, commas, semicolons and dots; comments, strings and unit tests left out.
fn tokens(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let mut tokens = Vec::new();
    for line in source.lines() {
        let mut rest = line;
        while let Some(c) = rest.chars().next() {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let len = if rest.starts_with("//") {
                rest.len()
            } else if rest.starts_with("'\"'") {
                3
            } else if c == '"' {
                1 + rest[1..].find('"').map_or(rest.len() - 1, |end| end + 1)
            } else if is_name(c) {
                rest.find(|c| !is_name(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                c.len_utf8()
            };
            if is_name(c) || rest.starts_with("::") || "{},;.".contains(c) {
                tokens.push(rest[..len].to_owned());
            }
            rest = &rest[len..];
        }
    }
    tokens
}
