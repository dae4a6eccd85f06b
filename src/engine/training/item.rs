//! One item of a dataset: a text, an example or a conversation, in any of the forms that they come in.
//! Not its tokens: `dataset` has them made, and `windows` cuts them.

use serde_json::Value;

use crate::error::{Error, Result};
use crate::tokenizer::Message;

use crate::engine::training::messages::{self, wrong};

/// What an item of a dataset is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Item {
    /// To be learned whole.
    Text(String),
    /// A text to go on from, and what is to come after it.
    Example { prompt: String, completion: String },
    /// Its answers are to be learned.
    Conversation {
        /// The field it came in.
        field: &'static str,
        messages: Vec<Message>,
    },
}

/// A form that an item may have: the fields it must have, and one it may have.
struct Form {
    needs: &'static [&'static str],
    may: Option<&'static str>,
    /// A field that is there and not read.
    unread: Option<&'static str>,
    item: fn(&Fields<'_>) -> Result<Item>,
}

const FORMS: [Form; 4] = [
    Form { needs: &["prompt", "completion"], may: None, unread: None, item: example },
    Form { needs: &["messages"], may: None, unread: None, item: conversation },
    // Alpaca's, whose own file has all of it once more as `text`.
    Form { needs: &["instruction", "output"], may: Some("input"), unread: Some("text"), item: alpaca },
    Form { needs: &["conversations"], may: None, unread: None, item: share_gpt },
];

/// What a dataset notes beside its examples.
const NOTES: [&str; 4] = ["id", "source", "category", "score"];

/// ShareGPT's names of who speaks, and the roles that they mean.
const ROLES: [(&str, &str); 5] = [
    ("human", "user"),
    ("user", "user"),
    ("gpt", "assistant"),
    ("assistant", "assistant"),
    ("system", "system"),
];

impl Item {
    /// Reads an item; `at` is where it is: `dataset[3]`. A field that is null is as one that is not there.
    ///
    /// Errors with `Argument` naming the field that is missing, unknown or of another type, `Unsupported`
    /// for a message that templates are not given.
    pub(super) fn parse(at: &str, item: &Value) -> Result<Self> {
        if let Value::String(text) = item {
            return Ok(Self::Text(text.clone()));
        }
        let has = |form: &&Form| form.needs.iter().any(|name| item.get(name).is_some());
        let form =
            FORMS.iter().find(has).ok_or_else(|| wrong(at, Some(item), &format!("a text, {}", forms())))?;
        let is_read = |name: &str| form.unread != Some(name) && !NOTES.contains(&name);
        let known = || form.needs.iter().copied().chain(form.may);
        let given = item.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
        if let Some((name, _)) =
            given.into_iter().find(|(name, _)| is_read(name) && known().all(|k| k != *name))
        {
            let known: Vec<&str> = known().collect();
            return Err(Error::argument(format!("{at}.{name}: unknown, expected {}", known.join(", "))));
        }
        (form.item)(&Fields { at, item })
    }
}

/// The forms that are no plain text, as they are told to a caller.
pub(super) fn forms() -> String {
    FORMS.iter().map(Form::to_string).collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{{{}", self.needs.join(", "))?;
        self.may.map_or(Ok(()), |may| write!(f, ", {may}?"))?;
        write!(f, "}}")
    }
}

struct Fields<'a> {
    at: &'a str,
    item: &'a Value,
}

impl Fields<'_> {
    /// A string, which may be empty.
    fn text(&self, name: &str) -> Result<String> {
        let value = self.item.get(name);
        let text = value.and_then(Value::as_str);
        text.map(str::to_owned).ok_or_else(|| wrong(&format!("{}.{name}", self.at), value, "a text"))
    }

    fn example(&self, prompt: String, name: &str) -> Result<Item> {
        let completion = self.text(name)?;
        if completion.is_empty() {
            return Err(wrong(&format!("{}.{name}", self.at), self.item.get(name), "a text"));
        }
        Ok(Item::Example { prompt, completion })
    }

    fn conversation(&self, field: &'static str, messages: Option<&Value>) -> Result<Item> {
        let messages = messages::check(&format!("{}.{field}", self.at), messages)?;
        Ok(Item::Conversation { field, messages })
    }
}

fn example(fields: &Fields<'_>) -> Result<Item> {
    fields.example(fields.text("prompt")?, "completion")
}

fn conversation(fields: &Fields<'_>) -> Result<Item> {
    fields.conversation("messages", fields.item.get("messages"))
}

fn alpaca(fields: &Fields<'_>) -> Result<Item> {
    let mut prompt = format!("### Instruction:\n{}\n\n", fields.text("instruction")?);
    if fields.item.get("input").is_some_and(|input| !input.is_null() && input != "") {
        prompt += &format!("### Input:\n{}\n\n", fields.text("input")?);
    }
    fields.example(prompt + "### Response:\n", "output")
}

/// ShareGPT's turns as messages; what has a role is one.
fn share_gpt(fields: &Fields<'_>) -> Result<Item> {
    let given = fields.item.get("conversations");
    let Some(turns) = given.and_then(Value::as_array) else {
        return fields.conversation("conversations", given);
    };
    let message = |(i, turn): (usize, &Value)| {
        if turn.get("role").is_some() {
            return Ok(turn.clone());
        }
        let (from, value) = (turn.get("from"), turn.get("value"));
        let role = ROLES.iter().find(|(name, _)| from.and_then(Value::as_str) == Some(*name));
        let (_, role) = role.ok_or_else(|| {
            let names = ROLES.map(|(name, _)| name).join(", ");
            wrong(&format!("{}.conversations[{i}].from", fields.at), from, &names)
        })?;
        let content = value
            .and_then(Value::as_str)
            .ok_or_else(|| wrong(&format!("{}.conversations[{i}].value", fields.at), value, "a text"))?;
        Ok(serde_json::json!({ "role": role, "content": content }))
    };
    let messages = turns.iter().enumerate().map(message).collect::<Result<Vec<_>>>()?;
    fields.conversation("conversations", Some(&messages.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_say_the_same_in_their_own_words() {
        let parse = |item| Item::parse("dataset[0]", &item).expect("valid");
        let example = |prompt: &str, completion: &str| Item::Example {
            prompt: prompt.to_owned(),
            completion: completion.to_owned(),
        };
        assert_eq!(parse(json!("a")), Item::Text("a".to_owned()));
        assert_eq!(
            parse(json!({"prompt": "a", "completion": "b", "id": 7, "other": null})),
            example("a", "b")
        );
        let alpaca = json!({"instruction": "a", "input": "c", "output": "b", "text": 1});
        assert_eq!(parse(alpaca), example("### Instruction:\na\n\n### Input:\nc\n\n### Response:\n", "b"));
        for input in [json!(""), json!(null)] {
            let plain = parse(json!({"instruction": "a", "input": input, "output": "b"}));
            assert_eq!(plain, example("### Instruction:\na\n\n### Response:\n", "b"));
        }
        let messages = |turns: Value| match parse(turns) {
            Item::Conversation { messages, .. } => messages,
            other => panic!("{other:?}"),
        };
        let turns = json!({"conversations": [{"from": "human", "value": "a"}, {"role": "assistant", "content": "b"}]});
        let plain =
            json!({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]});
        assert_eq!(messages(turns), messages(plain));
    }

    #[test]
    fn what_is_wrong_with_an_item_is_said() {
        let cases = [
            (
                json!(5),
                "dataset[0] 5, expected a text, {prompt, completion}, {messages}, {instruction, output, input?}, {conversations}",
            ),
            (
                json!({"text": "c"}),
                "dataset[0] {\"text\":\"c\"}, expected a text, {prompt, completion}, {messages}, {instruction, output, input?}, {conversations}",
            ),
            (json!({"prompt": "c"}), "dataset[0].completion undefined, expected a text"),
            (json!({"prompt": "c", "completion": ""}), "dataset[0].completion \"\", expected a text"),
            (
                json!({"instruction": "a", "output": "b", "inptu": "c"}),
                "dataset[0].inptu: unknown, expected instruction, output, input",
            ),
            (json!({"instruction": "a", "output": 1}), "dataset[0].output 1, expected a text"),
            (json!({"messages": []}), "dataset[0].messages [], expected an array of messages"),
            (json!({"conversations": "a"}), "dataset[0].conversations \"a\", expected an array of messages"),
            (
                json!({"conversations": [{"from": "bot"}]}),
                "dataset[0].conversations[0].from \"bot\", expected human, user, gpt, assistant, system",
            ),
            (
                json!({"conversations": [{"from": "gpt"}]}),
                "dataset[0].conversations[0].value undefined, expected a text",
            ),
        ];
        for (item, want) in cases {
            assert_eq!(Item::parse("dataset[0]", &item).expect_err("refused").to_string(), want);
        }
    }
}
