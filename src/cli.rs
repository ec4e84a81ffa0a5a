//! The user's words: options, commands and their help.

// Help texts speak of pid:[INODE], which is no link.
#![allow(rustdoc::broken_intra_doc_links)]

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::collect::Request;
use crate::document;
use crate::emit::{self, FOLD_LIMIT};
use crate::error::Error;
use crate::model::{NamespaceRef, NamespaceState, ParseNamespaceRefError, Pid, SearchScope};
use crate::query::{self, Glob, Selection, User};

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const ABOUT: &str = "Show the PID namespace hierarchy of a Linux host";

const LONG_ABOUT: &str = "\
Show the PID namespace hierarchy of a Linux host: which namespaces exist, how \
they nest, which processes are in each, each process's PIDs in every namespace \
that it is visible in, and what keeps namespaces without processes in being.

Anyone may run it. Without root some of it is inferred or missing; pidns then \
says so in one line on standard error, and in the document (\"complete\", \
\"diagnostics\").";

/// Commands to learn from, with what they are for.
const EXAMPLES: &[(&str, &str)] = &[
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

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "done; also where the view is incomplete"),
    ("1", "a plain no: no such process or namespace"),
    ("2", "trouble: wrong arguments, invalid input, /proc unusable, output not written"),
    ("3", "with --strict: the view is incomplete"),
];

fn after_help() -> String {
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

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "pidns",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_help = after_help(),
    styles = STYLES,
    disable_help_subcommand = true,
    args_override_self = true,
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of showing the hierarchy.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What to read.
    #[command(flatten)]
    pub input: Input,
    /// What to show of it.
    #[command(flatten)]
    pub select: Select,
    /// How to show it.
    #[command(flatten)]
    pub output: Output,
}

/// What else pidns does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print a process's PID in another PID namespace
    #[command(long_about = TRANSLATE, args_override_self = true)]
    Translate(Translate),
    /// Print the JSON Schema of what json (and yaml) hold
    Schema {
        /// Of the document, or of what translate prints
        #[arg(default_value = "document")]
        of: Schema,
    },
    /// Print a completion script
    Completions {
        /// The shell to complete for
        shell: Shell,
    },
    /// Print the manual page, for man -l -
    Man,
}

const TRANSLATE: &str = "\
Print a process's PID in another PID namespace, up or down the hierarchy, such \
as for kill \"$(pidns translate 7 --from @4242)\".

Without --from and --to: from the namespace of /proc to the process's own; \
without one of them, the namespace of /proc stands for it. Exit status 1 says \
that there is no such process, or that it is not visible there.";

/// A PID to translate.
#[derive(Debug, Args)]
pub struct Translate {
    /// The PID to translate
    pub pid: Pid,
    /// The namespace that PID is in: an inode, pid:[INODE], pid:[?PID], @PID for that
    /// of a process, or a path such as /proc/12/ns/pid
    #[arg(long, value_name = "NS")]
    pub from: Option<NamespaceArg>,
    /// The namespace to translate it to, likewise
    #[arg(long, value_name = "NS")]
    pub to: Option<NamespaceArg>,
    /// What to read.
    #[command(flatten)]
    pub origin: Origin,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    format: TranslationFormat,
    /// Indent JSON even when it does not go to a terminal
    #[arg(long)]
    pretty: bool,
}

impl Translate {
    /// The format.
    #[must_use]
    pub fn format(&self) -> emit::TranslationFormat {
        match self.format {
            TranslationFormat::Text => emit::TranslationFormat::Text,
            TranslationFormat::Json => emit::TranslationFormat::Json,
        }
    }

    /// How it looks, on a terminal or elsewhere.
    #[must_use]
    pub fn style(&self, terminal: bool) -> emit::Style {
        emit::Style { pretty: self.pretty || terminal, terminal, ..emit::Style::default() }
    }
}

/// The formats of a translation.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TranslationFormat {
    /// The number alone
    Text,
    /// With the PIDs in all levels; `pidns schema translation` describes it
    Json,
}

/// The published schemas.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Schema {
    /// What -f json and -f yaml write
    Document,
    /// What translate -f json writes
    Translation,
}

impl Schema {
    /// The text of it.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Document => document::SCHEMA,
            Self::Translation => document::TRANSLATION_SCHEMA,
        }
    }
}

/// A namespace as a user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceArg {
    /// By its ID or a process.
    Ref(NamespaceRef),
    /// By a file on nsfs.
    File(PathBuf),
}

impl FromStr for NamespaceArg {
    type Err = ParseNamespaceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') { Ok(Self::File(text.into())) } else { text.parse().map(Self::Ref) }
    }
}

/// What to read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Input")]
pub struct Input {
    /// Where to look for namespaces: a list of processes, children (every process's
    /// pid_for_children), threads (every thread's, and tables of its own), fds and
    /// mounts; or all
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        default_value = "processes,children,fds,mounts",
        conflicts_with = "file"
    )]
    search: Vec<Search>,
    /// Of which host.
    #[command(flatten)]
    pub origin: Origin,
}

/// Where to read from.
#[derive(Debug, Args)]
pub struct Origin {
    /// The procfs to read, such as a host's /proc bound into a container
    #[arg(long, value_name = "DIR", default_value = "/proc", value_hint = clap::ValueHint::DirPath)]
    pub procfs: PathBuf,
    /// Read a saved document, JSON or YAML, instead of the live kernel; - is standard input
    #[arg(short = 'i', long = "input", value_name = "FILE", value_hint = clap::ValueHint::FilePath,
        conflicts_with = "procfs")]
    pub file: Option<PathBuf>,
}

impl Input {
    /// What to read of the live kernel.
    #[must_use]
    pub fn request(&self) -> Request {
        let mut search = BTreeSet::from([SearchScope::Processes]);
        for place in &self.search {
            match place.0 {
                Some(source) => search.extend([source]),
                None => search.extend(SearchScope::ALL),
            }
        }
        Request { procfs: self.origin.procfs.clone(), search }
    }
}

/// What to show; all of it must hold.
#[derive(Debug, Args)]
#[command(next_help_heading = "Selection")]
pub struct Select {
    /// Only the branches that hold these processes: they, their namespaces and the
    /// ancestors of those
    #[arg(value_name = "PID", help_heading = None)]
    pids: Vec<Pid>,
    /// Only this namespace and what is below it. NS is an inode, pid:[INODE],
    /// pid:[?PID], @PID for that of a process, or a path such as /proc/12/ns/pid
    #[arg(short, long, value_name = "NS")]
    pub root: Option<NamespaceArg>,
    /// Only namespaces at most N levels below --root or the topmost; 0 for these alone
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
    /// Which members to show of the namespaces
    #[arg(long, value_name = "WHICH", default_value = "all")]
    members: Members,
    /// Only processes with such a name, which the kernel cuts to 15 bytes; *, ?, [a-z]
    /// and [!a-z] are wild
    #[arg(long, value_name = "GLOB")]
    comm: Option<Glob>,
    /// Only processes of this user
    #[arg(long, value_name = "NAME|UID")]
    user: Option<User>,
    /// Only namespaces of the container whose id begins so, and what is below them
    #[arg(long, value_name = "PREFIX")]
    container: Option<String>,
    /// Only namespaces in this state; and, among their ancestors, those who keep them
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
}

impl Select {
    /// What to show, with the root that was found for `--root`.
    #[must_use]
    pub fn selection(&self, root: Option<NamespaceRef>) -> Selection {
        Selection {
            pids: self.pids.iter().copied().collect(),
            root,
            depth: self.depth,
            members: match self.members {
                Members::All => query::Members::All,
                Members::Init => query::Members::Init,
                Members::None => query::Members::None,
            },
            comm: self.comm.clone(),
            user: self.user.clone(),
            container: self.container.clone(),
            state: self.state.map(|state| match state {
                State::Live => NamespaceState::Live,
                State::Dead => NamespaceState::Dead,
                State::Nascent => NamespaceState::Nascent,
            }),
        }
    }
}

/// Which members of a namespace.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Members {
    /// All that are selected
    All,
    /// Its PID 1 alone
    Init,
    /// None; only namespaces
    None,
}

/// The state of a namespace.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    /// Its init runs
    Live,
    /// Its init has terminated: forks into it fail
    Dead,
    /// No first process yet
    Nascent,
}

/// How to show it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Output {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Indent JSON even when it does not go to a terminal
    #[arg(long)]
    pretty: bool,
    /// When to colour text; NO_COLOR and CLICOLOR are respected
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Draw text with lines and arrows in ASCII
    #[arg(long)]
    ascii: bool,
    /// Exit with status 3 if the view is incomplete
    #[arg(long)]
    pub strict: bool,
    /// No warnings on standard error
    #[arg(short, long)]
    pub quiet: bool,
}

impl Output {
    /// The format.
    #[must_use]
    pub fn format(&self) -> emit::Format {
        self.format.0
    }

    /// How it looks, on a terminal or elsewhere, with or without colours there.
    #[must_use]
    pub fn style(&self, terminal: bool, color: bool) -> emit::Style {
        emit::Style { color, ascii: self.ascii, pretty: self.pretty || terminal, terminal }
    }
}

/// When to use colours.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Color {
    /// On a terminal
    Auto,
    /// Also elsewhere
    Always,
    /// Nowhere
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// A place to look in; `None` for all of them.
#[derive(Clone, Copy, Debug)]
struct Search(Option<SearchScope>);

impl ValueEnum for Search {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self(Some(SearchScope::Processes)),
            Self(Some(SearchScope::Children)),
            Self(Some(SearchScope::Threads)),
            Self(Some(SearchScope::Fds)),
            Self(Some(SearchScope::Mounts)),
            Self(None),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.map_or("all", SearchScope::name)))
    }
}

#[derive(Clone, Copy, Debug)]
struct Format(emit::Format);

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self(emit::Format::Text),
            Self(emit::Format::Json),
            Self(emit::Format::Yaml),
            Self(emit::Format::Dot),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(match self.0 {
            emit::Format::Text => PossibleValue::new("text").alias("tree").help("A tree for people"),
            emit::Format::Json => {
                PossibleValue::new("json").help("The document that `pidns schema` describes")
            }
            emit::Format::Yaml => PossibleValue::new("yaml").help("The same document as YAML"),
            emit::Format::Dot => PossibleValue::new("dot").help(format!(
                "A picture, for Graphviz; more than {FOLD_LIMIT} members of one name, or kernel threads, share a row"
            )),
        })
    }
}

/// The shells that completions are made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
    /// Elvish
    Elvish,
    /// Nushell
    Nushell,
}

impl Shell {
    /// The completion script.
    #[must_use]
    pub fn completions(self) -> Vec<u8> {
        use clap_complete::Shell as Kind;
        let (mut command, mut script) = (Cli::command(), Vec::new());
        let mut make =
            |kind: Kind| clap_complete::generate(kind, &mut command, "pidns", &mut script);
        match self {
            Self::Bash => make(Kind::Bash),
            Self::Zsh => make(Kind::Zsh),
            Self::Fish => make(Kind::Fish),
            Self::Elvish => make(Kind::Elvish),
            Self::Nushell => {
                let kind = clap_complete_nushell::Nushell;
                clap_complete::generate(kind, &mut command, "pidns", &mut script);
            }
        }
        script
    }
}

/// The manual page, in roff.
///
/// # Errors
/// None, as it is written into memory.
pub fn man() -> io::Result<Vec<u8>> {
    use clap_mangen::roff::{Roff, bold, roman};
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(Cli::command().after_help("")).title("PIDNS").section("1");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
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
    }
    more.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in EXIT_STATUS {
        more.control("TP", []).text([bold(*status)]).text([roman(*meaning)]);
    }
    more.control("SH", ["EXAMPLES"]);
    for (what, command) in EXAMPLES {
        more.control("TP", []).text([roman(*what)]).text([bold(*command)]);
    }
    more.control("SH", ["SEE ALSO"]);
    more.text([roman(
        "lsns(8), nsenter(1), unshare(1), pid_namespaces(7), proc_pid_status(5), ioctl_nsfs(2)",
    )]);
    more.to_writer(&mut page)?;
    Ok(page)
}

/// What came of the arguments.
#[derive(Debug)]
pub enum Parsed {
    /// They ask for something to be done.
    Run(Box<Cli>),
    /// They ask for help or the version, which is this.
    Print(String),
}

/// Understands the arguments.
///
/// # Errors
/// They make no sense; in one line.
pub fn parse(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Parsed, Error> {
    let command = Cli::command().color(ColorChoice::Auto);
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| {
        use clap::FromArgMatches as _;
        Cli::from_arg_matches(&matches)
    });
    match parsed {
        Ok(cli) => Ok(Parsed::Run(Box::new(cli))),
        Err(error) if !error.use_stderr() => Ok(Parsed::Print(error.render().ansi().to_string())),
        Err(error) => Err(Error::Usage(explain(&error))),
    }
}

/// What is wrong, in one line.
fn explain(error: &clap::Error) -> String {
    use clap::error::{ContextKind, ContextValue};
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
