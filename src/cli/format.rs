//! Parses the global option `-f`, which selects the output format.

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, ValueEnum};

use super::help::STYLES;
use crate::emit::CheckFormat;

/// An enumeration of output formats that has a format named `text`.
pub trait Formats: ValueEnum + Send + Sync + 'static {}

impl<F: ValueEnum + Send + Sync + 'static> Formats for F {}

/// The output format that `-f` selects.
#[derive(Clone, Copy, Debug)]
pub struct OutputFormat<F>(pub F);

const ID: &str = "format";

fn names<F: Formats>() -> impl Iterator<Item = PossibleValue> {
    F::value_variants().iter().filter_map(ValueEnum::to_possible_value)
}

impl<F: Formats> Args for OutputFormat<F> {
    fn augment_args(command: Command) -> Command {
        let is_own =
            |other: &PossibleValue| names::<F>().any(|own| own.get_name() == other.get_name());
        // `Format` and `CheckFormat` together contain every format, so no other enum needs to be
        // searched.
        let others = names::<CheckFormat>().filter(|other| !is_own(other));
        let option = Arg::new(ID).short('f').long(ID).value_name("FORMAT").help("Output format");
        // `-f` may precede the verb, so accept the formats of other verbs as hidden values.
        let values =
            PossibleValuesParser::new(names::<F>().chain(others.map(|other| other.hide(true))));
        command.arg(option.global(true).default_value("text").value_parser(values))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<F: Formats> FromArgMatches for OutputFormat<F> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let name = matches.get_one::<String>(ID).map_or("text", String::as_str);
        // clap also passes the verb's format to the top-level command. Use `text` there, because
        // that command may not support the format.
        let name = if matches.subcommand_name().is_some() { "text" } else { name };
        // The value may be a format of another verb.
        F::from_str(name, false).map(Self).map_err(|_| {
            let known = names::<F>().map(|format| format.get_name().to_owned()).collect();
            let command = Command::new("pidns").styles(STYLES);
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(&command);
            let option = "--format <FORMAT>".to_owned();
            error.insert(ContextKind::InvalidArg, ContextValue::String(option));
            error.insert(ContextKind::InvalidValue, ContextValue::String(name.to_owned()));
            error.insert(ContextKind::ValidValue, ContextValue::Strings(known));
            error
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
