//! What is wrong with the arguments, in one line, and nothing that parses them.
//! The words are clap's where they serve.

use clap::CommandFactory as _;
use clap::error::{ContextKind, ContextValue};

use super::Cli;

/// What is wrong, in one line.
pub(super) fn explain(error: &clap::Error) -> String {
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && Cli::command().find_subcommand(value).is_some()
    {
        return format!(
            "the command {value} comes first, its options after it; see 'pidns {value} --help'"
        );
    }
    one_line(&error.render().to_string())
}

/// The first paragraph of clap's message, without what follows on usage.
fn one_line(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let lines = message.lines().map(str::trim);
    let said: Vec<_> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"))
        .collect();
    format!("{}; see 'pidns --help'", said.join(" "))
}
