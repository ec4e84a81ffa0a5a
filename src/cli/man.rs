//! The manual page, made from the command line and its help, and nothing else.

use std::io::{self, Write};

use clap::CommandFactory as _;

use super::Cli;
use super::help::{EXAMPLES, EXIT_STATUS, LIMITS, READING, SECURITY};

/// Writes the manual page, in roff.
///
/// # Errors
/// What the writer says.
pub fn man(page: &mut dyn Write) -> io::Result<()> {
    use clap_mangen::roff::{Roff, bold, roman};
    let man = clap_mangen::Man::new(Cli::command().after_help("")).title("PIDNS").section("1");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    let mut more = Roff::new();
    more.control("SH", ["COMMANDS"]);
    let mut program = Cli::command();
    program.build();
    for command in program.get_subcommands_mut() {
        let usage = command.render_usage().to_string();
        more.control("SS", [usage.trim_start_matches("Usage: ")]);
        let about = command.get_long_about().or_else(|| command.get_about());
        more.text([roman(about.map(ToString::to_string).unwrap_or_default())]);
        for argument in command.get_arguments().filter(|it| it.get_id() != "help") {
            let help = argument.get_long_help().or_else(|| argument.get_help());
            let help = help.map(ToString::to_string).unwrap_or_default();
            let short = argument.get_short().map(|short| format!("-{short}, "));
            let name = format!("{}{argument}", short.unwrap_or_default());
            more.control("TP", []).text([bold(name)]).text([roman(help)]);
        }
        if let Some(after) = command.get_after_help() {
            // Line by line as they stand.
            more.control("PP", []).control("nf", []);
            more.text([roman(after.to_string().trim_end())]).control("fi", []);
        }
    }
    more.control("SH", ["READING THE OUTPUT"]);
    for (sign, meaning) in READING {
        more.control("TP", []).text([bold(*sign)]).text([roman(*meaning)]);
    }
    more.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in EXIT_STATUS {
        more.control("TP", []).text([bold(*status)]).text([roman(*meaning)]);
    }
    more.control("SH", ["EXAMPLES"]);
    for (what, command) in EXAMPLES {
        more.control("TP", []).text([roman(*what)]).text([bold(*command)]);
    }
    for (heading, paragraphs) in [("LIMITS", LIMITS), ("SECURITY", SECURITY)] {
        more.control("SH", [heading]);
        for paragraph in paragraphs {
            more.control("PP", []).text([roman(*paragraph)]);
        }
    }
    more.control("SH", ["SEE ALSO"]);
    more.text([roman(
        "lsns(8), nsenter(1), unshare(1), pid_namespaces(7), proc_pid_status(5), ioctl_nsfs(2)",
    )]);
    more.to_writer(page)
}
