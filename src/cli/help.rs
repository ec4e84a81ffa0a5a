//! Texts of the help and the manual page that belong to no single option, and
//! nothing that parses.

use clap::builder::styling::{AnsiColor, Styles};

pub(super) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

pub(super) const ABOUT: &str = "Show the PID namespace hierarchy of a Linux host";

pub(super) const LONG_ABOUT: &str = "\
Show the PID namespace hierarchy of a Linux host: which namespaces exist, how \
they nest, which processes are in each, each process's PIDs in every namespace \
that it is visible in, and what keeps namespaces without processes alive.

Anyone may run it. Without root some of it is inferred or missing; pidns then \
says so in one line on standard error, and in the document (\"complete\", \
\"diagnostics\").";

pub(super) const TRANSLATE: &str = "\
Print a process's PID in another PID namespace, up or down the hierarchy, such \
as for kill \"$(pidns translate 7 --from @4242)\".

Without --from and --to: from the namespace of /proc to the process's own; \
without one of them, the namespace of /proc stands for it. Exit status 1 says \
that there is no such process, or that it is not visible there.";

/// Commands to learn from, with what they are for.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("the tree of this host", "pidns"),
    ("a picture of it", "pidns -f dot | dot -Tsvg > pidns.svg"),
    (
        "namespaces that nothing can be forked into, and who holds them",
        "pidns -f json | jq '.namespaces[] | select(.state == \"dead\") | {id, holders}'",
    ),
    ("the tree of one container", "pidns --container 3f2a"),
    ("the host's PID of PID 7 in the namespace of process 4242", "pidns translate 7 --from @4242"),
    ("faster: look at processes alone", "pidns --search processes"),
    ("save now, look later", "pidns -f json > before.json; pidns -i before.json"),
];

/// Exit statuses, with what they mean.
pub(super) const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "done; also where the view is incomplete"),
    ("1", "a plain no: no such process or namespace"),
    ("2", "trouble: wrong arguments, invalid input, /proc unusable, output not written"),
    ("3", "with --strict: the view is incomplete"),
];

/// What stands below the options.
pub(super) fn after_help() -> String {
    let mut help = "Examples:\n".to_owned();
    for (what, command) in EXAMPLES {
        help.extend(["  # ", what, "\n  ", command, "\n"]);
    }
    help.push_str("\nExit status:\n");
    for (status, meaning) in EXIT_STATUS {
        help.extend(["  ", status, "  ", meaning, "\n"]);
    }
    help
}
