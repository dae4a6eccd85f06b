//! What an adapter is to learn: the windows of a dataset, which is given item by item.
//! Not how a conversation becomes text: the caller has the chat template, and is asked.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::tokenizer::{Message, Tokenizer};

use crate::engine::text::chat;
use crate::engine::training::item::{Item, forms};
use crate::engine::training::windows::{self, Window};
use crate::model::Blueprint;

/// A conversation whose token ids the caller is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// As the chat template is given them.
    pub messages: Vec<Message>,
    /// Whether an answer is to follow: `add_generation_prompt`.
    pub is_open: bool,
}

/// A dataset that is being read.
#[derive(Debug)]
pub(super) struct Dataset {
    pub(crate) windows: Vec<Window>,
    /// Most tokens of a window.
    most: usize,
    /// Whether examples teach their completions alone; texts, which have none, are refused where it was asked.
    completion_only: Option<bool>,
    /// Items that have been given.
    items: usize,
    /// What became of the last one if the caller was asked for tokens.
    asked: Option<Conversation>,
}

#[derive(Debug)]
struct Conversation {
    /// Where it is: `dataset[3].messages`.
    at: String,
    /// Which of its messages are answers to be learned; none where it is learned whole.
    answers: Option<Vec<usize>>,
}

impl Dataset {
    pub(super) fn new(most: usize, completion_only: Option<bool>) -> Self {
        Self { windows: Vec::new(), most, completion_only, items: 0, asked: None }
    }

    /// Reads the next item. What is returned is to be written by the chat template, encoded and given to
    /// [`answer`](Self::answer), in this order.
    ///
    /// Errors with `Argument` for an item of no known form, or without anything to learn.
    pub(crate) fn add(
        &mut self,
        tokenizer: &Tokenizer,
        config: &Blueprint,
        item: &Value,
    ) -> Result<Vec<Asked>> {
        let at = format!("dataset[{}]", self.items);
        self.items += 1;
        match Item::parse(&at, item)? {
            Item::Text(_) if self.completion_only == Some(true) => Err(Error::argument(format!(
                "completionOnly true, expected examples of {}: a text has no completion",
                forms()
            ))),
            Item::Text(text) if text.is_empty() => Ok(Vec::new()),
            Item::Text(text) => {
                let ids = chat::encode(tokenizer, config, &text)?;
                self.windows.extend(windows::of_text(&ids, self.most));
                Ok(Vec::new())
            }
            Item::Example { prompt, completion } => {
                let (ids, given) = chat::encode_example(tokenizer, config, [&prompt, &completion])?;
                self.windows.push(self.example(&at, ids, given)?);
                Ok(Vec::new())
            }
            Item::Conversation { field, messages } => self.ask(format!("{at}.{field}"), messages),
        }
    }

    /// What is to be written of a conversation: all of it, or what comes before each answer, and with it.
    fn ask(&mut self, at: String, messages: Vec<Message>) -> Result<Vec<Asked>> {
        if !self.completion_only.unwrap_or(true) {
            self.asked = Some(Conversation { at, answers: None });
            return Ok(vec![Asked { messages, is_open: false }]);
        }
        let answers = (0..messages.len()).filter(|&i| messages[i].role == "assistant");
        let answers = Vec::from_iter(answers);
        if answers.is_empty() {
            return Err(Error::argument(format!("{at}: no answer, expected a message of role assistant")));
        }
        let upto = |end: usize, is_open: bool| Asked { messages: messages[..end].to_vec(), is_open };
        let asked = answers.iter().flat_map(|&i| [upto(i, true), upto(i + 1, false)]).collect();
        self.asked = Some(Conversation { at, answers: Some(answers) });
        Ok(asked)
    }

    /// Takes the token ids of what [`add`](Self::add) asked for: a window for each answer, or one of all.
    ///
    /// Errors with `Argument` for another number of them, or an answer that is out of reach; `Unsupported`
    /// where a template writes what comes before an answer differently once that is there.
    pub(super) fn answer(&mut self, mut tokens: Vec<Vec<u32>>) -> Result<()> {
        let expected = |asked: &Conversation| asked.answers.as_ref().map_or(1, |answers| 2 * answers.len());
        let asked = self.asked.take().filter(|asked| tokens.len() == expected(asked)).ok_or_else(|| {
            Error::argument(format!("{} conversations, expected those that were asked for", tokens.len()))
        })?;
        let Some(answers) = asked.answers else {
            let mut ids = tokens.remove(0);
            ids.truncate(self.most);
            self.windows.push(Window::new(ids, 1));
            return Ok(());
        };
        for (i, pair) in answers.into_iter().zip(tokens.chunks_exact(2)) {
            let (at, [before, ids]) = (format!("{}[{i}]", asked.at), [&pair[0], &pair[1]]);
            if ids.len() <= before.len() || !ids.starts_with(before) {
                return Err(Error::unsupported(format!(
                    "{at}: the chat template writes what comes before it differently once it is there, expected {{prompt, completion}}"
                )));
            }
            self.windows.push(windows::of_example(&at, ids.clone(), before.len(), self.most, true)?);
        }
        Ok(())
    }

    fn example(&self, at: &str, ids: Vec<u32>, given: usize) -> Result<Window> {
        windows::of_example(at, ids, given, self.most, self.completion_only.unwrap_or(true))
    }
}
