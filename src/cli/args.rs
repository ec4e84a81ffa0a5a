//! Options, in the groups that the help shows them in, and what they amount to.
//! Nothing here acts on them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::emit::{self, FOLD_LIMIT};
use crate::model::{NamespaceRef, NamespaceState, ParseNamespaceRefError, Pid, SearchScope};
use crate::query::{self, Glob, Selection, User};

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
    /// Where to look for namespaces; every process's own is always read.
    #[must_use]
    pub fn search(&self) -> BTreeSet<SearchScope> {
        let mut search = BTreeSet::from([SearchScope::Processes]);
        for place in &self.search {
            match place.0 {
                Some(source) => search.extend([source]),
                None => search.extend(SearchScope::ALL),
            }
        }
        search
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
