//! Chat templates: messages to the text a model was tuned on, as transformers renders them.
//! Not tokens: that text is encoded like any other, without the tokens around a prompt.
//!
//! A template is a program from a stranger: it runs on a budget, and has nothing but what it is given.

mod clock;
mod files;
mod json;
mod python;
mod to_json;

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, ErrorKind as JinjaErrorKind, Template};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
pub use json::Json;

/// What a rendering may spend: an instruction costs 1, and so do 64 bytes, which makes 32 MB of text at most. Lists
/// that are joined over and over, or nested without end, are not counted until they are too large for the memory.
const FUEL: u64 = 500_000;
/// Calls of macros, and loops within loops.
const DEPTH: usize = 64;
/// transformers' names of the template of a model, and of the one that some have beside it for conversations
/// with tools.
const DEFAULT: &str = "default";
const TOOL_USE: &str = "tool_use";

/// One message of a conversation without tools.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: what roles there are, the template decides.
    pub role: String,
    /// What is said.
    pub content: String,
    /// The speaker's name, which few templates show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What a template sees beside the messages and the special tokens.
#[derive(Clone, Debug, Default)]
pub struct ChatContext {
    /// Whether the text ends where the model's answer begins.
    pub add_generation_prompt: bool,
    /// Seconds since 1970 on the local clock, for templates that tell the date.
    pub now: i64,
    /// Functions that the model may call, in OpenAI's form: a list of {type, function}.
    pub tools: Option<Json>,
    /// Texts that an answer is to rest on: a list of objects, whose fields the template decides.
    pub documents: Option<Json>,
    /// Variables by name, such as `enable_thinking`.
    pub variables: BTreeMap<String, Json>,
}

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    specials: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Compiles a template. `specials` are the special tokens it can name: `bos_token`, `eos_token`.
    ///
    /// Errors with `Unsupported` naming the line for what cannot be parsed.
    pub fn new(source: &str, specials: BTreeMap<String, String>) -> Result<Self> {
        let mut environment = Environment::new();
        add_builtins(&mut environment);
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|e| refused(&e))?);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(DEPTH);
        let mut template = Self { environment, specials };
        template.add(DEFAULT, source)?;
        Ok(template)
    }

    fn add(&mut self, name: &'static str, source: &str) -> Result<()> {
        let source = without_generation_tags(source);
        self.environment.add_template_owned(name, source).map_err(|e| refused(&e))
    }

    /// The template for conversations with tools, or without.
    fn template(&self, has_tools: bool) -> Result<Template<'_, '_>> {
        let own = has_tools.then(|| self.environment.get_template(TOOL_USE).ok()).flatten();
        own.map_or_else(|| self.environment.get_template(DEFAULT).map_err(|e| refused(&e)), Ok)
    }

    /// What the template is, for conversations with tools or without.
    pub fn source(&self, has_tools: bool) -> Result<String> {
        Ok(self.template(has_tools)?.source().to_owned())
    }

    /// The text of a conversation: a list of messages, whose fields the template decides. The arguments of their
    /// calls, which OpenAI has as strings, are given as objects, or, to a template that fails on those, as strings.
    ///
    /// Errors with `Argument` if the template refuses the conversation, or a variable is not for the
    /// caller to set, `Unsupported` naming the line for what the template asks for and is not there.
    pub fn render(&self, messages: &Json, context: &ChatContext) -> Result<String> {
        let Some(with_objects) = json::with_arguments_as_objects(&messages.0) else {
            return self.render_as_given(messages.0.clone(), context);
        };
        match self.render_as_given(with_objects, context) {
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                self.render_as_given(messages.0.clone(), context).map_err(|_| error)
            }
            result => result,
        }
    }

    fn render_as_given(&self, messages: Value, context: &ChatContext) -> Result<String> {
        let mut variables: BTreeMap<&str, Value> =
            self.specials.iter().map(|(name, token)| (name.as_str(), Value::from(token))).collect();
        variables.extend(context.variables.iter().map(|(name, value)| (name.as_str(), value.0.clone())));
        let given = |value: &Option<Json>| value.as_ref().map_or(Value::from(()), |value| value.0.clone());
        for (name, value) in [
            ("messages", messages),
            ("add_generation_prompt", Value::from(context.add_generation_prompt)),
            ("tools", given(&context.tools)),
            ("documents", given(&context.documents)),
        ] {
            if context.variables.contains_key(name) {
                return Err(Error::argument(format!("chat template: variable `{name}` is not to be set")));
            }
            variables.insert(name, value);
        }
        let now = context.now;
        let strftime_now = move |format: &str| clock::strftime(now, format);
        variables.insert("strftime_now", Value::from_function(strftime_now));
        let template = self.template(context.tools.is_some())?;
        template.render(Value::from_pairs(variables)).map_err(|e| refused(&e))
    }

    /// A special token by its name, such as `eos_token`.
    pub fn special(&self, name: &str) -> Option<&str> {
        self.specials.get(name).map(String::as_str)
    }

    /// What the template writes after an assistant's message that is the last; `None` where it
    /// will not render one, or does not show it.
    pub fn end_of_turn(&self) -> Option<String> {
        const ANSWER: &str = "answer";
        let say =
            |role: &str, content: &str| Message { role: role.into(), content: content.into(), name: None };
        let messages = [say("user", "question"), say("assistant", ANSWER)];
        let text = self.render(&Json::of(&messages), &ChatContext::default()).ok()?;
        Some(text.rsplit_once(ANSWER)?.1.to_owned())
    }
}

/// transformers' globals and filters, and tests with Python's meaning.
fn add_builtins(environment: &mut Environment<'static>) {
    python::add(environment);
    environment.add_filter("tojson", |value: &Value, options: Kwargs| to_json::to_json(value, &options));
    environment.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
        Err(minijinja::Error::new(JinjaErrorKind::InvalidOperation, "raise_exception")
            .with_source(Raised(message)))
    });
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map)
    });
    environment.add_test("iterable", |value: &Value| {
        value.is_undefined() || (!value.is_none() && value.try_iter().is_ok())
    });
}

/// What a template says when it refuses a conversation.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

fn refused(error: &minijinja::Error) -> Error {
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        if let Some(Raised(message)) = source.downcast_ref() {
            return Error::argument(format!("chat template: {message}"));
        }
        cause = source.source();
    }
    let line = error.line().map_or_else(String::new, |line| format!(" line {line}"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    Error::unsupported(format!("chat template{line}: {detail}"))
}

/// `{% generation %}` marks what training looks at, and has no part in the text: a scope takes its
/// place, with the same care of white space.
fn without_generation_tags(source: &str) -> String {
    let tag = |name: &str| {
        let pattern = format!(r"\{{%([-+]?)\s*{name}\s*([-+]?)%\}}");
        regex_lite::Regex::new(&pattern).expect("a pattern of ours")
    };
    let begun = tag("generation").replace_all(source, "{%$1 with $2%}");
    tag("endgeneration").replace_all(&begun, "{%$1 endwith $2%}").into_owned()
}
