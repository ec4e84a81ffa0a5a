//! Helpers that the integration tests share, one file for each subject.
#![allow(dead_code, unused_imports, reason = "no test program uses all helpers")]

mod document;
mod forest;
mod forker;
pub mod hosts;
mod junit;
mod keepers;
mod leaving;
mod limits;
mod needs;
mod proc;
mod processes;
mod program;
mod readme;
pub mod runner;
pub mod runtimes;
mod trees;

pub use document::*;
pub use forest::*;
pub use forker::*;
pub use junit::*;
pub use keepers::*;
pub use leaving::*;
pub use limits::*;
pub use needs::*;
pub use proc::*;
pub use processes::*;
pub use program::*;
pub use readme::*;
pub use trees::*;
