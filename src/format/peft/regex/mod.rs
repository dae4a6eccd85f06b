//! Python's regular expressions as configs use them, look-ahead and look-behind included.
//! Not all of Python's: what is not read is refused, and so is what could take long.
//!
//! A pattern becomes a program whose steps are tried in Python's order of preference. No step is
//! tried twice at one place, nor a look-around, so no pattern can hang.

mod parse;

use parse::{Node, parse};

/// Most steps of a program.
const MAX_STEPS: usize = 1 << 12;
/// Longest text that can match, characters: no module has a longer name.
const MAX_TEXT: usize = 1 << 9;

/// For what Python refuses too, and what is too large.
const BROKEN: &str = "it does not compile";

pub(super) const ENDS_IN_BACKSLASH: &str = "it ends in a backslash";

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Regex {
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Char(Set),
    /// Goes on at the first, else at the second.
    Split(usize, usize),
    Jump(usize),
    At(At),
    /// The steps up to its `Match` fit here, or as many characters before; then it goes on `after` them.
    Look {
        behind: Option<usize>,
        negated: bool,
        after: usize,
    },
    Match,
}

/// A place in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Start,
    /// `$`: before a line break at the end too.
    End,
    VeryEnd,
    Word(bool),
}

/// A character, or several.
#[derive(Clone, Debug, Default, PartialEq)]
struct Set {
    items: Vec<Item>,
    negated: bool,
    any_case: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Item {
    Range(char, char),
    /// `\d`, `\s`, `\w` by their small letter, and whether it is the capital.
    Class(char, bool),
}

impl Regex {
    /// Errors with why it is not read.
    pub(super) fn new(pattern: &str, any_case: bool) -> Result<Self, &'static str> {
        let node = parse(pattern, any_case)?;
        let mut steps = Vec::new();
        compile(&node, &mut steps)?;
        steps.push(Step::Match);
        Ok(Self { steps })
    }

    /// `re.match`, or with `whole` `re.fullmatch`: the part of the text that it fits, from the start.
    pub(super) fn matched<'a>(&self, text: &'a str, whole: bool) -> Option<&'a str> {
        let chars: Vec<char> = text.chars().take(MAX_TEXT + 1).collect();
        if chars.len() > MAX_TEXT {
            return None;
        }
        let looks = vec![None; self.steps.len() * (chars.len() + 1)];
        let end = Search { steps: &self.steps, text: &chars, looks }.run(0, self.steps.len(), 0, whole)?;
        Some(text.char_indices().nth(end).map_or(text, |(byte, _)| &text[..byte]))
    }
}

struct Search<'a> {
    steps: &'a [Step],
    text: &'a [char],
    /// Whether a look-around fits at a place, by step and place, where it has been tried.
    looks: Vec<Option<bool>>,
}

impl Search<'_> {
    /// Where the steps from `first` to before `after` lead to from `start`.
    fn run(&mut self, first: usize, after: usize, start: usize, whole: bool) -> Option<usize> {
        let (steps, text) = (self.steps, self.text);
        let places = text.len() + 1;
        let mut seen = vec![false; (after - first) * places];
        let mut left = vec![(first, start)];
        while let Some((mut step, mut pos)) = left.pop() {
            while !std::mem::replace(&mut seen[(step - first) * places + pos], true) {
                match &steps[step] {
                    Step::Char(set) if text.get(pos).is_some_and(|c| set.has(*c)) => {
                        (step, pos) = (step + 1, pos + 1);
                    }
                    Step::At(at) if at.holds(text, pos) => step += 1,
                    Step::Char(_) | Step::At(_) => break,
                    Step::Jump(to) => step = *to,
                    Step::Split(one, other) => {
                        left.push((*other, pos));
                        step = *one;
                    }
                    Step::Look { behind, negated, after } => {
                        if self.fits(step, *after, *behind, pos) == *negated {
                            break;
                        }
                        step = *after;
                    }
                    Step::Match if whole && pos < text.len() => break,
                    Step::Match => return Some(pos),
                }
            }
        }
        None
    }

    /// Whether the look-around at `step` fits at `pos`.
    fn fits(&mut self, step: usize, after: usize, behind: Option<usize>, pos: usize) -> bool {
        let at = step * (self.text.len() + 1) + pos;
        if let Some(fits) = self.looks[at] {
            return fits;
        }
        let from = pos.checked_sub(behind.unwrap_or(0));
        let fits = from.is_some_and(|from| self.run(step + 1, after, from, false).is_some());
        self.looks[at] = Some(fits);
        fits
    }
}

impl At {
    fn holds(self, text: &[char], pos: usize) -> bool {
        let is_word = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(|c| is_word(*c));
        match self {
            Self::Start => pos == 0,
            Self::End => pos == text.len() || pos + 1 == text.len() && text[pos] == '\n',
            Self::VeryEnd => pos == text.len(),
            Self::Word(edge) => (is_word(pos.checked_sub(1)) != is_word(Some(pos))) == edge,
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

impl Set {
    fn of(items: Vec<Item>) -> Self {
        Self { items, ..Self::default() }
    }

    fn has(&self, c: char) -> bool {
        let has = |c: char| {
            self.items.iter().any(|item| match *item {
                Item::Range(from, to) => (from..=to).contains(&c),
                Item::Class('d', not) => c.is_numeric() != not,
                Item::Class('s', not) => c.is_whitespace() != not,
                Item::Class(_, not) => is_word(c) != not,
            })
        };
        let cases = || c.to_lowercase().chain(c.to_uppercase()).any(has);
        (has(c) || self.any_case && cases()) != self.negated
    }
}

/// How many characters a node takes, if it is always as many.
fn width(node: &Node) -> Option<usize> {
    match node {
        Node::Char(_) => Some(1),
        Node::At(_) | Node::Look { .. } => Some(0),
        Node::All(nodes) => nodes.iter().try_fold(0usize, |sum, node| sum.checked_add(width(node)?)),
        Node::Any(nodes) => {
            let mut widths = nodes.iter().map(width);
            let first = widths.next()??;
            widths.all(|width| width == Some(first)).then_some(first)
        }
        Node::Repeat { node, least, most, .. } => {
            (*most == Some(*least)).then(|| width(node)?.checked_mul(*least)).flatten()
        }
    }
}

fn compile(node: &Node, steps: &mut Vec<Step>) -> Result<(), &'static str> {
    if steps.len() > MAX_STEPS {
        return Err(BROKEN);
    }
    match node {
        Node::Char(set) => steps.push(Step::Char(set.clone())),
        Node::At(at) => steps.push(Step::At(*at)),
        Node::All(nodes) => nodes.iter().try_for_each(|node| compile(node, steps))?,
        Node::Any(nodes) => {
            let Some((last, others)) = nodes.split_last() else { return Ok(()) };
            let mut ends = Vec::new();
            for node in others {
                let split = steps.len();
                steps.push(Step::Split(split + 1, 0));
                compile(node, steps)?;
                ends.push(steps.len());
                steps.push(Step::Jump(0));
                steps[split] = Step::Split(split + 1, steps.len());
            }
            compile(last, steps)?;
            ends.into_iter().for_each(|at| steps[at] = Step::Jump(steps.len()));
        }
        Node::Repeat { node, least, most, lazy } => {
            let split = |one, other| if *lazy { Step::Split(other, one) } else { Step::Split(one, other) };
            for _ in 0..*least {
                let before = steps.len();
                compile(node, steps)?;
                if steps.len() == before {
                    break; // nothing, however often
                }
            }
            let begin = steps.len();
            match most {
                None => {
                    steps.push(Step::Jump(0));
                    compile(node, steps)?;
                    steps.push(Step::Jump(begin));
                    steps[begin] = split(begin + 1, steps.len());
                }
                Some(most) => {
                    let mut splits = Vec::new();
                    for _ in *least..*most {
                        splits.push(steps.len());
                        steps.push(Step::Jump(0));
                        compile(node, steps)?;
                    }
                    splits.into_iter().for_each(|at| steps[at] = split(at + 1, steps.len()));
                }
            }
        }
        Node::Look { node, behind, negated } => {
            let behind =
                if *behind { Some(width(node).ok_or("a look-behind of more than one width")?) } else { None };
            let look = steps.len();
            steps.push(Step::Match);
            compile(node, steps)?;
            steps.push(Step::Match);
            steps[look] = Step::Look { behind, negated: *negated, after: steps.len() };
        }
    }
    Ok(())
}
