//! Implements the verbs (subcommands), each in its own file.

mod check;
mod complete;
mod diff;
mod limits;
mod live_check;
mod run;
mod save;
mod schema;
mod show;
mod translate;
mod until;
mod view;
mod watch;

pub use check::check;
pub use complete::complete;
pub use diff::diff;
pub use limits::limits;
pub use run::run;
pub use schema::schema;
pub use show::show;
pub use translate::translate;
pub use watch::watch;
